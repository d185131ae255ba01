package zeroboot

// #include <zeroboot.h>
import "C"

import (
	"errors"
	"fmt"
	"syscall"
)

// ErrClosed is what a snapshot or a sandbox gives after its Close, and one that nobody made: a nil
// pointer or a zero value.
var ErrClosed = errors.New("zeroboot: used after it was closed")

// A Status is the kind of an [Error]. It is an error itself, to compare with:
//
//	errors.Is(err, zeroboot.ErrNotFound)
//
// Later versions of the library may have more of them.
type Status int32

// The statuses of an [Error].
const (
	// ErrInvalidArgument says that an argument has a value that makes no sense.
	ErrInvalidArgument Status = C.ZB_ERR_INVALID_ARGUMENT
	// ErrUnsupported says that the library does not know an option, or is of another version.
	ErrUnsupported Status = C.ZB_ERR_UNSUPPORTED
	// ErrNotFound says that there is no such file or directory.
	ErrNotFound Status = C.ZB_ERR_NOT_FOUND
	// ErrCorrupt says that a file is truncated, changed, or of another kind.
	ErrCorrupt Status = C.ZB_ERR_CORRUPT
	// ErrVersion says that a snapshot is in another version's format; build it again.
	ErrVersion Status = C.ZB_ERR_VERSION
	// ErrHost says that the processor or KVM lacks something that a snapshot needs.
	ErrHost Status = C.ZB_ERR_HOST
	// ErrClock says that clocks would be wrong in a snapshot: its host's stands before it.
	ErrClock Status = C.ZB_ERR_CLOCK
	// ErrKVM says that KVM is not there, may not be used, lacks something, or refused something.
	ErrKVM Status = C.ZB_ERR_KVM
	// ErrLimit says that a limit of the process or the system was reached; the message names it.
	ErrLimit Status = C.ZB_ERR_LIMIT
	// ErrIO says that a file cannot be read, or that the system refused something else.
	ErrIO Status = C.ZB_ERR_IO
	// ErrNoMemory says that there is no memory for an object.
	ErrNoMemory Status = C.ZB_ERR_NO_MEMORY
	// ErrBusy says that the sandbox is running another program.
	ErrBusy Status = C.ZB_ERR_BUSY
	// ErrDead says that an earlier run was the sandbox's last; the message says how that ended.
	ErrDead Status = C.ZB_ERR_DEAD
	// ErrWrongProcess says that another process made the handle.
	ErrWrongProcess Status = C.ZB_ERR_WRONG_PROCESS
	// ErrInternal says that the library has a defect. A sandbox that it happened to is dead.
	ErrInternal Status = C.ZB_ERR_INTERNAL
)

var statusTexts = map[Status]string{
	ErrInvalidArgument: "invalid argument",
	ErrUnsupported:     "unsupported",
	ErrNotFound:        "not found",
	ErrCorrupt:         "corrupt",
	ErrVersion:         "another version",
	ErrHost:            "unsuitable host",
	ErrClock:           "another clock",
	ErrKVM:             "KVM failure",
	ErrLimit:           "limit reached",
	ErrIO:              "input/output failure",
	ErrNoMemory:        "out of memory",
	ErrBusy:            "busy",
	ErrDead:            "dead sandbox",
	ErrWrongProcess:    "wrong process",
	ErrInternal:        "internal error",
}

// Error is a short text for the status.
func (s Status) Error() string {
	if text, ok := statusTexts[s]; ok {
		return "zeroboot: " + text
	}
	return fmt.Sprintf("zeroboot: status %d", int32(s))
}

// An Error is a failure of the library. For errors.Is it equals its Status, and its Errno where it
// has one.
type Error struct {
	Status  Status
	Errno   syscall.Errno // 0 if the failure was not the system's
	Message string        // what failed, which one and by how much
}

// Error is the message.
func (e *Error) Error() string {
	if e.Message == "" {
		return e.Status.Error()
	}
	return "zeroboot: " + e.Message
}

// Is says whether target is the error's Status.
func (e *Error) Is(target error) bool {
	status, ok := target.(Status)
	return ok && status == e.Status
}

// Unwrap is the error's Errno, or nil if it has none.
func (e *Error) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// newError makes a Go error of what a function of the library gave, and frees it.
func newError(status C.zb_status, err *C.zb_error) error {
	if status == C.ZB_OK {
		return nil
	}
	defer C.zb_error_free(err)
	return &Error{
		Status:  Status(status),
		Errno:   syscall.Errno(C.zb_error_errno(err)),
		Message: C.GoString(C.zb_error_message(err)),
	}
}

// invalid is the error for an argument that this package refuses itself.
func invalid(message string) error {
	return &Error{Status: ErrInvalidArgument, Message: message}
}
