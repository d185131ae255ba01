package zeroboot

// #include <zeroboot.h>
//
// typedef struct {
//     zb_outcome outcome;
//     int32_t exit_code, signal;
//     uint64_t elapsed_ns;
//     const char *out, *err, *message;
//     size_t out_len, err_len;
// } zb_go_result;
//
// static inline zb_go_result zb_go_read(const zb_result *result) {
//     zb_go_result r;
//     r.outcome = zb_result_outcome(result);
//     r.exit_code = zb_result_exit_code(result);
//     r.signal = zb_result_signal(result);
//     r.elapsed_ns = zb_result_elapsed_ns(result);
//     r.message = zb_result_message(result);
//     r.out = zb_result_stdout(result, &r.out_len);
//     r.err = zb_result_stderr(result, &r.err_len);
//     return r;
// }
import "C"

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
	"unsafe"
)

// An Outcome is how a run ended. Later versions of the library may have more of them.
type Outcome uint32

const (
	// Exited says that the program ended, see Result.ExitCode. It is the only outcome after which
	// the sandbox can run another program.
	Exited Outcome = C.ZB_OUTCOME_EXITED
	// ProcessExited says that the program ended its process without the runtime, as by os._exit.
	ProcessExited Outcome = C.ZB_OUTCOME_PROCESS_EXITED
	// Signaled says that a signal ended the program's process, see Result.Signal.
	Signaled Outcome = C.ZB_OUTCOME_SIGNALED
	// OutOfMemory says that the guest's memory was used up, and its kernel killed the program.
	OutOfMemory Outcome = C.ZB_OUTCOME_OUT_OF_MEMORY
	// TimedOut says that the run took longer than Request.Timeout or its context's deadline.
	TimedOut Outcome = C.ZB_OUTCOME_TIMED_OUT
	// Cancelled says that the run's context, its OnOutput or Sandbox.Close stopped it.
	Cancelled Outcome = C.ZB_OUTCOME_CANCELLED
	// OutputLimit says that the program printed more than Request.MaxOutput.
	OutputLimit Outcome = C.ZB_OUTCOME_OUTPUT_LIMIT
	// Crashed says that the virtual machine came to an end, by the guest's doing.
	Crashed Outcome = C.ZB_OUTCOME_CRASHED
	// MemoryLimit says that the guest wrote to more memory than its sandbox may have.
	MemoryLimit Outcome = C.ZB_OUTCOME_MEMORY_LIMIT
)

var outcomeNames = map[Outcome]string{
	Exited:        "exited",
	ProcessExited: "process_exited",
	Signaled:      "signaled",
	OutOfMemory:   "out_of_memory",
	TimedOut:      "timed_out",
	Cancelled:     "cancelled",
	OutputLimit:   "output_limit",
	Crashed:       "crashed",
	MemoryLimit:   "memory_limit",
}

// String is the outcome's name: "exited", "timed_out" and so on.
func (o Outcome) String() string {
	if name, ok := outcomeNames[o]; ok {
		return name
	}
	return fmt.Sprintf("outcome %d", uint32(o))
}

// What an [ExitError] is for errors.Is, by its outcome.
var (
	ErrSignaled    = errors.New("zeroboot: ended by a signal")
	ErrOutOfMemory = errors.New("zeroboot: out of memory in the guest")
	ErrTimeout     = errors.New("zeroboot: timed out")
	ErrCancelled   = errors.New("zeroboot: cancelled")
	ErrOutputLimit = errors.New("zeroboot: too much output")
	ErrCrashed     = errors.New("zeroboot: the virtual machine crashed")
	ErrMemoryLimit = errors.New("zeroboot: too much memory")
)

var outcomeErrors = map[Outcome]error{
	Signaled:    ErrSignaled,
	OutOfMemory: ErrOutOfMemory,
	TimedOut:    ErrTimeout,
	Cancelled:   ErrCancelled,
	OutputLimit: ErrOutputLimit,
	Crashed:     ErrCrashed,
	MemoryLimit: ErrMemoryLimit,
}

// A Result is how a run ended, and what it printed until then.
type Result struct {
	Outcome  Outcome
	ExitCode int            // 0 to 255 for Exited and ProcessExited; else -1
	Signal   syscall.Signal // for Signaled; else 0
	Stdout   []byte         // what the program and its processes wrote
	Stderr   []byte
	Elapsed  time.Duration // from handing over the program to its end
	Message  string        // how the run ended, in English

	cause error // why it was cancelled
}

// Err is nil if the program ended with exit code 0, and an [*ExitError] if not.
func (r *Result) Err() error {
	if r.ExitCode == 0 {
		return nil
	}
	return &ExitError{r}
}

// An ExitError is a program that did not succeed: a [Result] as an error.
//
// For errors.Is it is ErrTimeout, ErrSignaled and so on, by its outcome; one that timed out is
// context.DeadlineExceeded, too; one that was cancelled is also what was the cause of that: the
// context's error, OnOutput's error, or [ErrClosed].
type ExitError struct {
	*Result
}

// Error says how the run ended.
func (e *ExitError) Error() string {
	return "zeroboot: " + e.Message
}

// Is says whether target is what the outcome stands for.
func (e *ExitError) Is(target error) bool {
	if e.Outcome == TimedOut && target == context.DeadlineExceeded {
		return true
	}
	err, ok := outcomeErrors[e.Outcome]
	return ok && err == target
}

// Unwrap is why the run was cancelled; nil for other outcomes.
func (e *ExitError) Unwrap() error {
	return e.cause
}

// newResult copies a result of the library, and frees it.
func newResult(result *C.zb_result) *Result {
	defer C.zb_result_free(result)
	r := C.zb_go_read(result)
	return &Result{
		Outcome:  Outcome(r.outcome),
		ExitCode: int(r.exit_code),
		Signal:   syscall.Signal(r.signal),
		Stdout:   goBytes(r.out, r.out_len),
		Stderr:   goBytes(r.err, r.err_len),
		Elapsed:  time.Duration(r.elapsed_ns),
		Message:  C.GoString(r.message),
	}
}

// goBytes copies bytes of the library. Not C.GoBytes, whose length is an int of C.
func goBytes(data *C.char, length C.size_t) []byte {
	bytes := make([]byte, int(length))
	copy(bytes, unsafe.Slice((*byte)(unsafe.Pointer(data)), int(length)))
	return bytes
}
