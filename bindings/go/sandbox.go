package zeroboot

// #include <zeroboot.h>
import "C"

import (
	"runtime"
	"sync"
	"unsafe"
)

// A Sandbox is a virtual machine that stands where its snapshot was taken: in the runtime, waiting
// for a program. Neither the snapshot nor other sandboxes see what it writes.
//
// It takes two file descriptors, two mappings, and the memory that it writes to.
type Sandbox struct {
	mu      sync.Mutex // guards all fields, and the token and cause of the flight
	handle  *C.zb_sandbox
	flight  *flight // the run that is under way
	closing bool    // the flight is the last
}

// Alive says whether the sandbox can run another program. It cannot after a run with any outcome
// but [Exited], nor after Close.
func (s *Sandbox) Alive() bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.closing && C.zb_sandbox_is_alive(s.handle) != 0
}

// InstanceID is the sandbox's name: what [InstanceID] gave it, or a random one; zeros after Close.
func (s *Sandbox) InstanceID() (id [16]byte) {
	if s == nil {
		return id
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handle != nil {
		copy(id[:], unsafe.Slice((*byte)(C.zb_sandbox_instance_id(s.handle)), len(id)))
	}
	return id
}

// Close ends the sandbox and frees it; its virtual machine may be recycled. The error is always nil.
//
// A run that is under way is cancelled and waited for; its outcome is [Cancelled]. Only a Close by
// the run's own OnOutput does not wait: the run frees the sandbox as it ends.
func (s *Sandbox) Close() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	flight := s.flight
	if flight == nil {
		s.free()
	} else {
		s.closing = true
		flight.cancel(ErrClosed)
	}
	s.mu.Unlock()
	if flight != nil && !flight.inCallback() {
		<-flight.ended
	}
	return nil
}

// free frees what the library holds. The caller has mu; no run is under way.
func (s *Sandbox) free() {
	if s.handle != nil {
		C.zb_free(s.handle)
		s.handle = nil
		runtime.SetFinalizer(s, nil)
	}
}

// begin makes flight the run that is under way.
func (s *Sandbox) begin(flight *flight) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.handle == nil || s.closing:
		return ErrClosed
	case s.flight != nil:
		return &Error{Status: ErrBusy, Message: "the sandbox is running another program"}
	}
	var cError *C.zb_error
	status := C.zb_cancel_new(&flight.token, &cError)
	if err := newError(status, cError); err != nil {
		return err
	}
	flight.sandbox = s.handle
	s.flight = flight
	return nil
}

// end is called when the library has come back from the run.
func (s *Sandbox) end(flight *flight) {
	s.mu.Lock()
	C.zb_cancel_free(flight.token)
	s.flight = nil
	if s.closing {
		s.free()
	}
	s.mu.Unlock()
	close(flight.ended)
}
