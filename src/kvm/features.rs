use kvm_bindings::{KVM_CPUID_FLAG_SIGNIFCANT_INDEX, kvm_cpuid_entry2};
use serde::{Deserialize, Serialize};

use crate::sys;

/// What the code in a snapshot may rely on: the processor's vendor and its feature words, as ring 3
/// of a guest reads them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuFeatures {
    /// The 12 characters of CPUID leaf 0.
    pub vendor: String,
    /// The words of [`WORDS`], in its order.
    pub words: Vec<u32>,
    /// XSAVE's layout: a component's place in the area differs between vendors.
    pub xsave: Vec<(u32, u32)>,
}

/// Leaf, sub-leaf, register (0 = EAX), the bits that count (not: what an OS or a core decides).
const WORDS: &[(u32, u32, usize, u32)] = &[
    (0x1, 0, 2, !(1 << 27)),
    (0x1, 0, 3, !0),
    (0x7, 0, 1, !0),
    (0x7, 0, 2, !(1 << 4)),
    (0x7, 1, 0, !0),
    (0xd, 0, 0, !0),
    (0x8000_0001, 0, 2, !0),
    (0x8000_0001, 0, 3, !0),
];

/// Bits that KVM gives a guest whatever the processor is: x2APIC, TSC deadline, hypervisor, the TSC's
/// adjustment, and the switches of mitigations under the other vendor's names.
const PROVIDED: &[(u32, u32, usize, u32)] =
    &[(0x1, 0, 2, 1 << 21 | 1 << 24 | 1 << 31), (0x7, 0, 1, 1 << 1), (0x7, 0, 2, 1 << 2)];

/// XSAVE components that a guest may use: AVX, AVX-512, PKRU.
const XSAVE_COMPONENTS: &[u32] = &[2, 5, 6, 7, 9];

impl CpuFeatures {
    /// This host's.
    pub fn of_host() -> Self {
        let first = sys::cpuid(0, 0);
        let vendor: Vec<u8> =
            [first.ebx, first.edx, first.ecx].iter().flat_map(|r| r.to_le_bytes()).collect();
        let word = |&(leaf, index, register, mask): &(u32, u32, usize, u32)| {
            let r = sys::cpuid(leaf, index);
            [r.eax, r.ebx, r.ecx, r.edx][register] & mask
        };
        let component = |index: &u32| {
            let r = sys::cpuid(0xd, *index);
            (r.ebx, r.eax)
        };
        CpuFeatures {
            vendor: String::from_utf8_lossy(&vendor).into_owned(),
            words: WORDS.iter().map(word).collect(),
            xsave: XSAVE_COMPONENTS.iter().map(component).collect(),
        }
    }

    /// What a guest was told by CPUID. What KVM provides on any processor does not count.
    pub fn of_guest(leaves: &[kvm_cpuid_entry2]) -> Self {
        let find = |leaf: u32, index: u32| {
            let indexed = |l: &&kvm_cpuid_entry2| l.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX != 0;
            let found = leaves
                .iter()
                .filter(|l| l.function == leaf)
                .find(|l| l.index == index || !indexed(l))
                .copied();
            found.map_or([0; 4], |l| [l.eax, l.ebx, l.ecx, l.edx])
        };
        let [_, b, c, d] = find(0, 0);
        let vendor: Vec<u8> = [b, d, c].iter().flat_map(|r| r.to_le_bytes()).collect();
        let word = |&(leaf, index, register, mask): &(u32, u32, usize, u32)| {
            let provided = PROVIDED.iter().filter(|p| (p.0, p.1, p.2) == (leaf, index, register));
            let provided = provided.fold(0, |bits, p| bits | p.3);
            find(leaf, index)[register] & mask & !provided
        };
        let component = |index: &u32| {
            let [size, offset, ..] = find(0xd, *index);
            (offset, size)
        };
        CpuFeatures {
            vendor: String::from_utf8_lossy(&vendor).into_owned(),
            words: WORDS.iter().map(word).collect(),
            xsave: XSAVE_COMPONENTS.iter().map(component).collect(),
        }
    }

    /// What a snapshot needs that `host` has not got, in words; `None` if it can run there.
    pub fn lacking_on(&self, host: &CpuFeatures) -> Option<String> {
        if self.vendor != host.vendor {
            return Some(format!("a processor by {}, this one is by {}", self.vendor, host.vendor));
        }
        if self.words.len() != WORDS.len() || self.xsave.len() != XSAVE_COMPONENTS.len() {
            return Some("a list of processor features of another length".into());
        }
        for ((leaf, index, register, _), (need, have)) in
            WORDS.iter().zip(self.words.iter().zip(&host.words))
        {
            if need & !have != 0 {
                let register = ["EAX", "EBX", "ECX", "EDX"][*register];
                return Some(format!(
                    "processor features {:#x} of CPUID {leaf:#x}.{index} {register}",
                    need & !have
                ));
            }
        }
        let used = |pair: &(u32, u32)| pair.1 != 0;
        let differs = self.xsave.iter().zip(&host.xsave).any(|(a, b)| used(a) && a != b);
        differs.then(|| "another layout of the processor's extended state".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_what_it_has() {
        let host = CpuFeatures::of_host();
        assert_eq!(host.lacking_on(&host), None);
    }

    #[test]
    fn a_missing_feature_is_named_by_its_leaf() {
        let host = CpuFeatures::of_host();
        let mut old = host.clone();
        old.words[0] &= !(1 << 23); // popcnt
        assert_eq!(
            host.lacking_on(&old).unwrap(),
            "processor features 0x800000 of CPUID 0x1.0 ECX"
        );
        assert_eq!(old.lacking_on(&host), None);
        old.vendor = "Other".into();
        assert!(old.lacking_on(&host).unwrap().contains("by Other"));
    }
}
