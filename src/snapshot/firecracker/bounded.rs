//! Pieces of a schema that say how long they may be.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{DeserializeSeed, Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use zerocopy::FromBytes;

/// A list of at most `MAX`.
#[derive(Clone, Debug)]
pub(super) struct List<T, const MAX: usize>(pub(super) Vec<T>);

impl<T, const MAX: usize> Deref for List<T, MAX> {
    type Target = Vec<T>;
    fn deref(&self) -> &Vec<T> {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListVisitor::<T, MAX>(PhantomData))
    }
}

struct ListVisitor<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ListVisitor<T, MAX> {
    type Value = List<T, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        // No room is made on the strength of a length alone.
        let mut items = Vec::new();
        while let Some(item) = from.next_element()? {
            if items.len() == MAX {
                return Err(A::Error::custom(format_args!(
                    "a list of {} has more than {MAX} items",
                    std::any::type_name::<T>().rsplit("::").next().unwrap_or("items")
                )));
            }
            items.push(item);
        }
        Ok(List(items))
    }
}

/// One of KVM's structures: a byte string that must have its size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kvm<T>(pub(super) T);

impl<'de, T: FromBytes> Deserialize<'de> for Kvm<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(KvmVisitor(PhantomData))
    }
}

struct KvmVisitor<T>(PhantomData<T>);

impl<T: FromBytes> Visitor<'_> for KvmVisitor<T> {
    type Value = Kvm<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} bytes of a structure of KVM's", size_of::<T>())
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        T::read_from_bytes(bytes).map(Kvm).map_err(|_| {
            E::custom(format_args!(
                "{}: {} bytes, not {}",
                std::any::type_name::<T>().rsplit("::").next().unwrap_or("structure"),
                bytes.len(),
                size_of::<T>()
            ))
        })
    }
}

/// KVM's lists: a header that counts, and the entries.
#[derive(Clone, Debug)]
pub(super) struct Counted<T, const MAX: usize>(pub(super) Vec<T>);

impl<'de, T: FromBytes, const MAX: usize> Deserialize<'de> for Counted<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(bound = "T: FromBytes")]
        struct Wire<T, const MAX: usize>(Kvm<[u32; 2]>, List<Kvm<T>, MAX>);
        let Wire::<T, MAX>(Kvm([count, _]), entries) = Wire::deserialize(deserializer)?;
        if count as usize != entries.len() {
            return Err(D::Error::custom(format_args!(
                "a list of KVM's counts {count} entries and has {}",
                entries.len()
            )));
        }
        Ok(Counted(entries.0.into_iter().map(|entry| entry.0).collect()))
    }
}

/// A tree of address ranges. Nothing in it is needed; it must be read to get behind it.
#[derive(Clone, Debug)]
pub(super) struct Tree;

/// A balanced tree of this height has more leaves than a machine has devices.
const HEIGHT_MAX: u8 = 24;

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Branch(HEIGHT_MAX).deserialize(deserializer)
    }
}

/// A branch, or none, of at most this height.
struct Branch(u8);

impl<'de> DeserializeSeed<'de> for Branch {
    type Value = Tree;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Branch {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a branch of a tree of address ranges")
    }

    fn visit_none<E: Error>(self) -> Result<Tree, E> {
        Ok(Tree)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        let fields = &["start", "end", "state", "left", "right", "height"];
        match self.0.checked_sub(1) {
            Some(below) => deserializer.deserialize_struct("Node", fields, Node(below)),
            None => Err(D::Error::custom("a tree of address ranges is too high")),
        }
    }
}

/// A node whose branches are at most this high.
struct Node(u8);

impl<'de> Visitor<'de> for Node {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a node of a tree of address ranges")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Tree, A::Error> {
        #[derive(Deserialize)]
        enum NodeState {
            Free,
            Taken,
        }
        let cut_off = || A::Error::custom("a node of a tree of address ranges is cut off");
        let _: (u64, u64) =
            (from.next_element()?.ok_or_else(cut_off)?, from.next_element()?.ok_or_else(cut_off)?);
        match from.next_element::<NodeState>()? {
            Some(NodeState::Free | NodeState::Taken) => {}
            None => return Err(cut_off()),
        }
        from.next_element_seed(Branch(self.0))?.ok_or_else(cut_off)?;
        from.next_element_seed(Branch(self.0))?.ok_or_else(cut_off)?;
        let _: u64 = from.next_element()?.ok_or_else(cut_off)?;
        Ok(Tree)
    }
}
