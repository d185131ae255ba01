package zeroboot

// #include <stdint.h>
// #include <zeroboot.h>
//
// extern int32_t zerobootOutput(uintptr_t flight, uint32_t stream, char *data, size_t len);
//
// static int32_t zb_go_output(void *user, zb_stream stream, const char *data, size_t len) {
//     return zerobootOutput((uintptr_t)user, stream, (char *)data, len);
// }
//
// typedef struct {
//     zb_status status;
//     zb_result *result;
//     zb_error *error;
// } zb_go_answer;
//
// // The options are made here because a pointer to Go's memory, which the program is, may not be
// // stored in memory that is passed to C.
// static inline zb_go_answer zb_go_run(zb_sandbox *sandbox, _GoString_ code, uint64_t timeout_ms,
//                                      uint64_t max_output_bytes, const zb_cancel *cancel, uintptr_t output) {
//     zb_go_answer answer;
//     zb_run_options options;
//     ZB_INIT(options);
//     options.code_len = _GoStringLen(code);
//     options.code = options.code_len ? _GoStringPtr(code) : "";
//     options.timeout_ms = timeout_ms;
//     options.max_output_bytes = max_output_bytes;
//     options.cancel = cancel;
//     options.on_output = output ? zb_go_output : NULL;
//     options.on_output_user = (void *)output;
//     answer.status = zb_run(sandbox, &options, &answer.result, &answer.error);
//     return answer;
// }
import "C"

import (
	"context"
	"math"
	"runtime"
	"runtime/cgo"
	"sync/atomic"
	"syscall"
	"time"
)

// NoTimeout is a [Request] Timeout: as long as it takes.
const NoTimeout time.Duration = math.MaxInt64

// NoLimit is a [Request] MaxOutput: as much as there is memory for.
const NoLimit int64 = math.MaxInt64

// A Stream is one of a program's two outputs.
type Stream uint32

const (
	Stdout Stream = C.ZB_STREAM_STDOUT // the standard output
	Stderr Stream = C.ZB_STREAM_STDERR // the standard error
)

// A Request is what to run, and how far. Its zero value is an empty program.
type Request struct {
	// Code is the program, in the language of the snapshot's runtime. It may have any bytes in it.
	Code string

	// Timeout is the longest time that the program may take, rounded up to milliseconds. A deadline
	// of the run's context holds besides. 0 is that deadline, or a minute if there is none.
	Timeout time.Duration

	// MaxOutput is the most that the program may print, in bytes of both streams. 0 is 64 MiB.
	MaxOutput int64

	// OnOutput gets the output as it comes, besides the Result. Where pieces begin and end means
	// nothing; data is the callee's to keep. It is called by Run, on Run's goroutine; the program
	// stands still meanwhile.
	//
	// An error ends the run with Cancelled, and Result.Err wraps it. So does a panic, which then
	// goes on to Run's caller. The sandbox itself is busy, but may be closed.
	OnOutput func(stream Stream, data []byte) error
}

// Run runs a program and waits for its end. The program sees what earlier programs left in the
// sandbox.
//
// However the program ends, and also if ctx ends it, there is a result and the error is nil; see
// [Result.Err]. After any outcome but [Exited] the sandbox is dead.
//
// The error says that the program was not run to an end at all: an [*Error] ([ErrBusy], [ErrDead],
// [ErrInvalidArgument] for a program that is too long, and others), [ErrClosed], or that of ctx,
// if it was done before the program began.
func (s *Sandbox) Run(ctx context.Context, request Request) (*Result, error) {
	limits, err := limitsOf(ctx, &request)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, ErrClosed
	}
	f := &flight{
		pieces:   make(chan piece),
		verdicts: make(chan C.int32_t),
		stop:     make(chan struct{}),
		returned: make(chan struct{}),
		ended:    make(chan struct{}),
	}
	if err := s.begin(f); err != nil {
		return nil, err
	}
	// Deferred, for OnOutput may panic or end the goroutine.
	defer func() {
		close(f.stop)
		<-f.returned
		s.end(f)
	}()
	go f.run(request.Code, limits, request.OnOutput != nil)

	done := ctx.Done()
	for {
		select {
		case <-f.returned:
			return s.outcome(f)
		case <-done:
			done = nil
			s.interrupt(f, ctx)
		case p := <-f.pieces:
			f.verdicts <- s.output(f, request.OnOutput, p)
		}
	}
}

// interrupt stops a run whose context is done.
func (s *Sandbox) interrupt(f *flight, ctx context.Context) {
	err := ctx.Err()
	if _, ok := ctx.Deadline(); ok && err == context.DeadlineExceeded {
		return // the library has the same deadline, and calls it a timeout
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f.cancel(err)
}

// output passes a piece on, and says whether to go on (0) as the library wants it.
func (s *Sandbox) output(f *flight, onOutput func(Stream, []byte) error, p piece) C.int32_t {
	err := f.call(onOutput, p)
	if err == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f.cancel(err)
	return 1
}

// outcome is what Run returns when the library has come back.
func (s *Sandbox) outcome(f *flight) (*Result, error) {
	if f.err != nil {
		return nil, f.err
	}
	if f.result.Outcome == Cancelled {
		s.mu.Lock()
		defer s.mu.Unlock()
		f.result.cause = f.cause
	}
	return f.result, nil
}

// limits are how far a run may go, as the library wants it.
type limits struct {
	timeoutMs C.uint64_t
	maxOutput C.uint64_t
}

func limitsOf(ctx context.Context, request *Request) (limits, error) {
	if ctx == nil {
		return limits{}, invalid("the context is nil")
	}
	if err := ctx.Err(); err != nil {
		return limits{}, err
	}
	if request.Timeout < 0 || request.MaxOutput < 0 {
		return limits{}, invalid("the timeout or the limit of the output is negative")
	}
	timeout := request.Timeout
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		if left <= 0 {
			return limits{}, context.DeadlineExceeded
		}
		if timeout == 0 || left < timeout {
			timeout = left
		}
	}
	l := limits{timeoutMs: C.ZB_NO_TIMEOUT, maxOutput: C.ZB_NO_LIMIT}
	if timeout != NoTimeout {
		l.timeoutMs = C.uint64_t(timeout / time.Millisecond)
		if timeout%time.Millisecond != 0 {
			l.timeoutMs++
		}
	}
	if request.MaxOutput != NoLimit {
		l.maxOutput = C.uint64_t(request.MaxOutput)
	}
	return l, nil
}

// A piece of output on its way to OnOutput.
type piece struct {
	stream Stream
	data   []byte
}

// A flight is a run that is under way. The library is called on a goroutine of its own, so that Run
// can look after its context meanwhile and call OnOutput on its caller's goroutine, where a panic
// or a runtime.Goexit unwinds no frames of C.
type flight struct {
	sandbox *C.zb_sandbox
	token   *C.zb_cancel
	cause   error // why it was cancelled

	pieces   chan piece
	verdicts chan C.int32_t
	stop     chan struct{} // closed: Run takes no more pieces
	returned chan struct{} // closed: the library has come back, result and err are set
	ended    chan struct{} // closed: the sandbox is free for another run, or freed

	callback atomic.Int32 // the thread that is in OnOutput
	result   *Result
	err      error
}

// run runs the program, on a goroutine of its own.
func (f *flight) run(code string, limits limits, output bool) {
	defer close(f.returned)
	var handle cgo.Handle
	if output {
		handle = cgo.NewHandle(f)
		defer handle.Delete()
	}
	answer := C.zb_go_run(f.sandbox, code, limits.timeoutMs, limits.maxOutput, f.token, C.uintptr_t(handle))
	if f.err = newError(answer.status, answer.error); f.err == nil {
		f.result = newResult(answer.result)
	}
}

// cancel stops the run. The caller has the sandbox's mu, and the flight has not ended.
func (f *flight) cancel(cause error) {
	if f.cause == nil {
		f.cause = cause
	}
	C.zb_cancel_trigger(f.token)
}

// call calls OnOutput on a thread that inCallback knows.
func (f *flight) call(onOutput func(Stream, []byte) error, p piece) error {
	runtime.LockOSThread()
	f.callback.Store(int32(syscall.Gettid()))
	defer func() {
		f.callback.Store(0)
		runtime.UnlockOSThread()
	}()
	return onOutput(p.stream, p.data)
}

// inCallback says whether the caller is called by the flight's OnOutput.
func (f *flight) inCallback() bool {
	return f.callback.Load() == int32(syscall.Gettid())
}
