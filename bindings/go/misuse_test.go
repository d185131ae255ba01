package zeroboot_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zeroboot/zeroboot/bindings/go"
)

func TestClosedAndNilAndZeroHandlesGiveErrClosed(t *testing.T) {
	ctx := context.Background()
	snapshots := []*zeroboot.Snapshot{nil, {}}
	sandboxes := []*zeroboot.Sandbox{nil, {}}
	if shared != nil {
		s, err := zeroboot.Load(template)
		if err != nil {
			t.Fatal(err)
		}
		sandbox := fork(t)
		s.Close()
		sandbox.Close()
		snapshots, sandboxes = append(snapshots, s), append(sandboxes, sandbox)
	}
	for _, s := range snapshots {
		if _, err := s.Fork(ctx); !errors.Is(err, zeroboot.ErrClosed) {
			t.Errorf("Fork: %v", err)
		}
		if s.Runtime() != "" || s.MemoryBytes() != 0 || s.Close() != nil || s.Close() != nil {
			t.Errorf("a closed snapshot is something")
		}
	}
	for _, s := range sandboxes {
		if _, err := s.Run(ctx, zeroboot.Request{}); !errors.Is(err, zeroboot.ErrClosed) {
			t.Errorf("Run: %v", err)
		}
		if s.Alive() || s.Close() != nil || s.Close() != nil {
			t.Errorf("a closed sandbox is something")
		}
	}
}

func TestArgumentsThatMakeNoSenseAreRefused(t *testing.T) {
	if _, err := zeroboot.Load(""); !errors.Is(err, zeroboot.ErrInvalidArgument) {
		t.Errorf("an empty name: %v", err)
	}
	if _, err := zeroboot.Load("a\x00b"); !errors.Is(err, zeroboot.ErrInvalidArgument) {
		t.Errorf("a NUL: %v", err)
	}
	sandbox := fork(t)
	var none context.Context
	_, err := snapshot(t).Fork(none)
	expectInvalid(t, err)
	_, err = sandbox.Run(none, zeroboot.Request{})
	expectInvalid(t, err)
	_, err = sandbox.Run(context.Background(), zeroboot.Request{Timeout: -1})
	expectInvalid(t, err)
	_, err = sandbox.Run(context.Background(), zeroboot.Request{MaxOutput: -1})
	expectInvalid(t, err)
	_, err = sandbox.Run(context.Background(), zeroboot.Request{Code: strings.Repeat("#", 1<<20)})
	expectInvalid(t, err)
	expectFine(t, sandbox)
}

func expectInvalid(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, zeroboot.ErrInvalidArgument) {
		t.Errorf("got %v", err)
	}
}

func TestARunThatOverlapsAnotherIsBusyAndDoesNotDisturbIt(t *testing.T) {
	sandbox := fork(t)
	var inner error
	result := run(t, sandbox, zeroboot.Request{Code: "print('fine')", OnOutput: func(zeroboot.Stream, []byte) error {
		other := make(chan struct{})
		go func() {
			_, inner = sandbox.Run(context.Background(), zeroboot.Request{})
			close(other)
		}()
		<-other
		if !errors.Is(inner, zeroboot.ErrBusy) {
			t.Errorf("another goroutine got %v", inner)
		}
		_, inner = sandbox.Run(context.Background(), zeroboot.Request{})
		return nil
	}})
	if !errors.Is(inner, zeroboot.ErrBusy) {
		t.Errorf("the callback got %v", inner)
	}
	expectOutcome(t, result, zeroboot.Exited, "fine\n")
	expectFine(t, sandbox)
}

func TestACallbackMayUseOtherSandboxes(t *testing.T) {
	other := fork(t)
	result := run(t, fork(t), zeroboot.Request{Code: "print(1)", OnOutput: func(zeroboot.Stream, []byte) error {
		expectFine(t, other)
		return nil
	}})
	expectOutcome(t, result, zeroboot.Exited, "1\n")
}

func TestCloseDuringARunCancelsItAndWaits(t *testing.T) {
	sandbox := fork(t)
	onOutput, started := begun()
	type answer struct {
		result *zeroboot.Result
		err    error
	}
	answers := make(chan answer, 1)
	go func() {
		result, err := sandbox.Run(context.Background(), zeroboot.Request{Code: loop, OnOutput: onOutput})
		answers <- answer{result, err}
	}()
	select {
	case <-started:
	case a := <-answers:
		t.Fatalf("the loop ended: %v, %v", a.result, a.err)
	}
	var wait sync.WaitGroup
	for i := 0; i < 3; i++ {
		wait.Add(1)
		go func() { defer wait.Done(); sandbox.Close() }()
	}
	wait.Wait()
	if _, err := sandbox.Run(context.Background(), zeroboot.Request{}); !errors.Is(err, zeroboot.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	a := <-answers
	if a.err != nil {
		t.Fatal(a.err)
	}
	expectOutcome(t, a.result, zeroboot.Cancelled, "begun\n")
	if !errors.Is(a.result.Err(), zeroboot.ErrClosed) {
		t.Errorf("got %v", a.result.Err())
	}
}

func TestACallbackMayCloseItsOwnSandbox(t *testing.T) {
	sandbox := fork(t)
	result := run(t, sandbox, zeroboot.Request{Code: loop, OnOutput: func(zeroboot.Stream, []byte) error {
		return sandbox.Close()
	}})
	if result.Outcome != zeroboot.Cancelled || !errors.Is(result.Err(), zeroboot.ErrClosed) {
		t.Errorf("got %v", result.Err())
	}
	if _, err := sandbox.Run(context.Background(), zeroboot.Request{}); !errors.Is(err, zeroboot.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestASnapshotMayBeClosedWhileItIsForked(t *testing.T) {
	snapshot(t)
	s, err := zeroboot.Load(template)
	if err != nil {
		t.Fatal(err)
	}
	forked := make(chan struct{}, 64)
	var wait sync.WaitGroup
	for g := 0; g < 4; g++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for {
				sandbox, err := s.Fork(context.Background())
				if errors.Is(err, zeroboot.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				sandbox.Close()
				select {
				case forked <- struct{}{}:
				default:
				}
			}
		}()
	}
	for i := 0; i < 20; i++ {
		<-forked
	}
	s.Close()
	wait.Wait()
}

func TestAPanicInACallbackReachesTheCallerOfRun(t *testing.T) {
	sandbox := fork(t)
	func() {
		defer func() {
			if value := recover(); value != "no more" {
				t.Errorf("recovered %v", value)
			}
		}()
		sandbox.Run(context.Background(), zeroboot.Request{Code: loop, OnOutput: func(zeroboot.Stream, []byte) error {
			panic("no more")
		}})
		t.Error("Run returned")
	}()
	// The run has ended: the sandbox is not busy, but dead.
	if _, err := sandbox.Run(context.Background(), zeroboot.Request{}); !errors.Is(err, zeroboot.ErrDead) {
		t.Errorf("after a panic: %v", err)
	}
	expectFine(t, fork(t))
}

func TestACallbackMayEndItsGoroutine(t *testing.T) {
	sandbox := fork(t)
	ended := make(chan struct{})
	returned := false
	go func() {
		defer close(ended)
		sandbox.Run(context.Background(), zeroboot.Request{Code: loop, OnOutput: func(zeroboot.Stream, []byte) error {
			runtime.Goexit() // as t.FailNow does
			return nil
		}})
		returned = true
	}()
	<-ended
	if _, err := sandbox.Run(context.Background(), zeroboot.Request{}); returned || !errors.Is(err, zeroboot.ErrDead) {
		t.Errorf("returned: %v; then %v", returned, err)
	}
}

func TestAContextThatEndsDuringACallbackStopsTheRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	result, err := fork(t).Run(ctx, zeroboot.Request{Code: loop, OnOutput: func(zeroboot.Stream, []byte) error {
		<-ctx.Done()
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	expectTimeout(t, result)
}
