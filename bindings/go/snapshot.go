package zeroboot

// #include <stdlib.h>
// #include <zeroboot.h>
import "C"

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"unsafe"
)

// Version is the version of the library, such as "0.1.0".
func Version() string {
	return C.GoString(C.zb_version())
}

// A LoadOption changes how [Load] loads.
type LoadOption func(*C.zb_load_options) error

// Verify hashes the snapshot's memory and file system and compares with what it says of itself.
// That takes as long as reading them does.
func Verify() LoadOption {
	return func(options *C.zb_load_options) error {
		options.flags |= C.ZB_LOAD_VERIFY
		return nil
	}
}

// SealedCopy copies the snapshot's memory first. Without it, somebody who truncates the snapshot's
// file while it is in use makes this process fault (SIGBUS).
func SealedCopy() LoadOption {
	return func(options *C.zb_load_options) error {
		options.flags |= C.ZB_LOAD_SEALED_COPY
		return nil
	}
}

// RecycleMax is the most virtual machines that are kept when their sandboxes are closed. Their
// memory and processor are put back to the snapshot's state, byte for byte, and a later Fork gets
// one in a fraction of the time that a new one takes. Each holds on to two files and to the memory
// that it wrote to, usually less than a megabyte; when nobody has forked for ten seconds, one is
// left. 0 is for none; without the option it is four a processor, but at least eight.
func RecycleMax(n int) LoadOption {
	return func(options *C.zb_load_options) error {
		options.recycle_max = C.uint32_t(n)
		if n == 0 {
			options.recycle_max = C.ZB_NONE // for C, 0 is the default
		}
		return checkMachines("RecycleMax", n)
	}
}

// Prewarm is the most virtual machines that are made ahead, in which no program has run. As long as
// forks keep coming there are as many; when nobody has forked for ten seconds, one is left. Without
// the option it is 0, for none.
func Prewarm(n int) LoadOption {
	return func(options *C.zb_load_options) error {
		options.prewarm = C.uint32_t(n)
		return checkMachines("Prewarm", n)
	}
}

func checkMachines(option string, n int) error {
	if n < 0 || uint64(n) >= C.ZB_NONE {
		return invalid(fmt.Sprintf("%s(%d): it must be from 0 to %d", option, n, uint64(C.ZB_NONE)-1))
	}
	return nil
}

// A Snapshot is a virtual machine to make sandboxes of. It takes a few file descriptors and no
// memory of its own: its sandboxes share its pages. It keeps the virtual machines of sandboxes that
// were closed for those to come; see [RecycleMax].
type Snapshot struct {
	mu     sync.RWMutex // held for reading while handle is in use
	handle *C.zb_snapshot
}

// Load opens the snapshot in a directory, and checks that this host can run it. It takes about a
// millisecond, whatever the size of the snapshot, without options.
//
// The error is an [*Error]: [ErrNotFound], [ErrCorrupt], [ErrVersion], [ErrHost], [ErrClock],
// [ErrKVM], [ErrLimit] and others.
func Load(dir string, options ...LoadOption) (*Snapshot, error) {
	if abi := C.zb_abi_version(); abi != C.ZB_ABI_VERSION {
		return nil, &Error{Status: ErrUnsupported, Message: fmt.Sprintf(
			"the library has version %d of the binary interface, this program needs %d", abi, C.ZB_ABI_VERSION)}
	}
	if strings.IndexByte(dir, 0) >= 0 {
		return nil, invalid("the directory's name has a NUL in it")
	}
	cOptions := C.zb_load_options{size: C.sizeof_zb_load_options}
	for _, option := range options {
		if err := option(&cOptions); err != nil {
			return nil, err
		}
	}
	cDir := C.CString(dir)
	defer C.free(unsafe.Pointer(cDir))
	snapshot := &Snapshot{}
	var cError *C.zb_error
	status := C.zb_snapshot_load(cDir, &cOptions, &snapshot.handle, &cError)
	if err := newError(status, cError); err != nil {
		return nil, err
	}
	runtime.SetFinalizer(snapshot, (*Snapshot).Close)
	return snapshot, nil
}

// Runtime is the name of what runs the programs, such as "python"; "" after Close.
func (s *Snapshot) Runtime() string {
	if !s.use() {
		return ""
	}
	defer s.mu.RUnlock()
	return C.GoString(C.zb_snapshot_runtime(s.handle))
}

// MemoryBytes is how much memory a sandbox has; 0 after Close. A sandbox takes only what it writes to.
func (s *Snapshot) MemoryBytes() uint64 {
	if !s.use() {
		return 0
	}
	defer s.mu.RUnlock()
	return uint64(C.zb_snapshot_memory_bytes(s.handle))
}

// A ForkOption changes how [Snapshot.Fork] forks.
type ForkOption func(*C.zb_fork_options)

// Fresh asks for a virtual machine in which no program ever ran. Without it the library may reuse
// one whose memory and processor were put back to the snapshot's state, byte for byte.
func Fresh() ForkOption {
	return func(options *C.zb_fork_options) { options.flags |= C.ZB_FORK_FRESH }
}

// InstanceID gives the sandbox a name, which its guest finds in /etc/machine-id as 32 hexadecimal
// digits. All zeros, like no InstanceID, give it a random one.
func InstanceID(id [16]byte) ForkOption {
	return func(options *C.zb_fork_options) {
		for i, b := range id {
			options.instance_id[i] = C.uint8_t(b)
		}
	}
}

// Fork makes a sandbox. It takes less than a millisecond, so ctx is looked at only before.
//
// The error is an [*Error] ([ErrLimit], [ErrKVM] and others), [ErrClosed], or that of ctx.
func (s *Snapshot) Fork(ctx context.Context, options ...ForkOption) (*Sandbox, error) {
	if ctx == nil {
		return nil, invalid("the context is nil")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !s.use() {
		return nil, ErrClosed
	}
	defer s.mu.RUnlock()
	cOptions := C.zb_fork_options{size: C.sizeof_zb_fork_options}
	for _, option := range options {
		option(&cOptions)
	}
	sandbox := &Sandbox{}
	var cError *C.zb_error
	status := C.zb_fork(s.handle, &cOptions, &sandbox.handle, &cError)
	if err := newError(status, cError); err != nil {
		return nil, err
	}
	runtime.SetFinalizer(sandbox, (*Sandbox).Close)
	return sandbox, nil
}

// Close frees the snapshot, and the virtual machines that it keeps. Its sandboxes live on. The error is always nil.
func (s *Snapshot) Close() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handle != nil {
		C.zb_snapshot_free(s.handle)
		s.handle = nil
		runtime.SetFinalizer(s, nil)
	}
	return nil
}

// use holds the handle until mu is unlocked for reading, and says whether there is one.
func (s *Snapshot) use() bool {
	if s == nil {
		return false
	}
	s.mu.RLock()
	if s.handle == nil {
		s.mu.RUnlock()
		return false
	}
	return true
}
