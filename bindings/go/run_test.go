package zeroboot_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/zeroboot/zeroboot/bindings/go"
)

func TestASnapshotSaysWhatItIs(t *testing.T) {
	s := snapshot(t)
	if s.Runtime() != "python" || s.MemoryBytes() < 64<<20 {
		t.Errorf("runtime %q, %d bytes of memory", s.Runtime(), s.MemoryBytes())
	}
	if zeroboot.Version() == "" {
		t.Error("the library has no version")
	}
}

func TestAMissingTemplateIsNotFoundInEveryWayOfAsking(t *testing.T) {
	_, err := zeroboot.Load("/nonexistent/template")
	var e *zeroboot.Error
	if !errors.As(err, &e) || e.Status != zeroboot.ErrNotFound || e.Errno != syscall.ENOENT {
		t.Fatalf("got %#v", err)
	}
	for _, target := range []error{zeroboot.ErrNotFound, syscall.ENOENT, fs.ErrNotExist} {
		if !errors.Is(err, target) {
			t.Errorf("%v is not %v", err, target)
		}
	}
	if errors.Is(err, zeroboot.ErrBusy) || !strings.Contains(err.Error(), "/nonexistent/template") {
		t.Errorf("got %v", err)
	}
}

func TestOptionsReachTheLibrary(t *testing.T) {
	snapshot(t)
	s, err := zeroboot.Load(template, zeroboot.Verify(), zeroboot.SealedCopy())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sandbox, err := s.Fork(context.Background(), zeroboot.Fresh())
	if err != nil {
		t.Fatal(err)
	}
	defer sandbox.Close()
	expectFine(t, sandbox)
}

func TestASandboxHasTheNameThatItWasGiven(t *testing.T) {
	id := [16]byte{0: 1, 15: 0xff}
	sandbox, err := snapshot(t).Fork(context.Background(), zeroboot.InstanceID(id))
	if err != nil {
		t.Fatal(err)
	}
	defer sandbox.Close()
	if sandbox.InstanceID() != id {
		t.Errorf("got %x", sandbox.InstanceID())
	}
	result, err := sandbox.Run(context.Background(), zeroboot.Request{Code: "print(open('/etc/machine-id').read(), end='')"})
	if err != nil || string(result.Stdout) != fmt.Sprintf("%x\n", id) {
		t.Errorf("got %v, %v", result, err)
	}
	other, err := snapshot(t).Fork(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if other.InstanceID() == id || other.InstanceID() == [16]byte{} {
		t.Errorf("got %x", other.InstanceID())
	}
	other.Close()
	if other.InstanceID() != [16]byte{} {
		t.Error("a closed sandbox has a name")
	}
}

func TestASandboxOutlivesItsSnapshot(t *testing.T) {
	snapshot(t)
	s, err := zeroboot.Load(template)
	if err != nil {
		t.Fatal(err)
	}
	sandbox, err := s.Fork(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer sandbox.Close()
	s.Close()
	expectFine(t, sandbox)
}

func TestATimeoutIsAResultAndADeadlineExceeded(t *testing.T) {
	sandbox := fork(t)
	result := run(t, sandbox, zeroboot.Request{Code: loop, Timeout: 50 * time.Millisecond})
	expectOutcome(t, result, zeroboot.TimedOut, "begun\n")
	expectTimeout(t, result)
	if sandbox.Alive() {
		t.Error("the sandbox is alive after a timeout")
	}
	if _, err := sandbox.Run(context.Background(), zeroboot.Request{}); !errors.Is(err, zeroboot.ErrDead) {
		t.Errorf("a dead sandbox gave %v", err)
	}
}

func expectTimeout(t *testing.T, result *zeroboot.Result) {
	t.Helper()
	err := result.Err()
	var exit *zeroboot.ExitError
	if !errors.As(err, &exit) || exit.Result != result || exit.ExitCode != -1 {
		t.Fatalf("got %#v", err)
	}
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, zeroboot.ErrTimeout) || errors.Is(err, zeroboot.ErrCancelled) {
		t.Errorf("got %v", err)
	}
}

func TestTheDeadlineOfAContextIsATimeout(t *testing.T) {
	for _, timeout := range []time.Duration{0, time.Hour, zeroboot.NoTimeout} {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		result, err := fork(t).Run(ctx, zeroboot.Request{Code: loop, Timeout: timeout})
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		expectOutcome(t, result, zeroboot.TimedOut, "begun\n")
		expectTimeout(t, result)
	}
}

func TestTheEarlierOfTimeoutAndDeadlineHolds(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	result, err := fork(t).Run(ctx, zeroboot.Request{Code: loop, Timeout: 30 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	expectTimeout(t, result)
}

func TestCancellingTheContextStopsARunSoon(t *testing.T) {
	sandbox := fork(t)
	ctx, cancel := context.WithCancel(context.Background())
	onOutput, started := begun()
	var cancelled time.Time
	go func() {
		<-started
		cancelled = time.Now()
		cancel()
	}()
	result, err := sandbox.Run(ctx, zeroboot.Request{Code: loop, OnOutput: onOutput})
	took := time.Since(cancelled)
	if err != nil {
		t.Fatal(err)
	}
	expectOutcome(t, result, zeroboot.Cancelled, "begun\n")
	if err := result.Err(); !errors.Is(err, context.Canceled) || !errors.Is(err, zeroboot.ErrCancelled) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if took > 50*time.Millisecond && !raceDetector {
		t.Errorf("stopping took %v", took)
	}
}

func TestAContextThatIsDoneRunsNothingAndDoesNoHarm(t *testing.T) {
	sandbox := fork(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if result, err := sandbox.Run(ctx, zeroboot.Request{}); result != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("Run gave %v, %v", result, err)
	}
	if sandbox, err := snapshot(t).Fork(ctx); sandbox != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("Fork gave %v, %v", sandbox, err)
	}
	ctx, cancel = context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancel()
	if result, err := sandbox.Run(ctx, zeroboot.Request{}); result != nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run gave %v, %v", result, err)
	}
	expectFine(t, sandbox)
}

func TestCancellingAfterARunDoesNotTouchTheNext(t *testing.T) {
	sandbox := fork(t)
	for i := 0; i < 200; i++ {
		ctx, cancel := context.WithCancel(context.Background())
		result, err := sandbox.Run(ctx, zeroboot.Request{Code: "print('fine')"})
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		expectOutcome(t, result, zeroboot.Exited, "fine\n")
	}
}

func TestACancellationThatRacesWithTheEndIsOneOrTheOther(t *testing.T) {
	for i := 0; i < 100; i++ {
		sandbox := fork(t)
		ctx, cancel := context.WithCancel(context.Background())
		_, err := sandbox.Run(ctx, zeroboot.Request{Code: "print('x')", OnOutput: func(zeroboot.Stream, []byte) error {
			go cancel()
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if sandbox.Alive() {
			expectFine(t, sandbox)
		}
		sandbox.Close()
	}
}

func TestOutputComesInPiecesAndInTheResult(t *testing.T) {
	var out, err bytes.Buffer
	code := "import sys\nfor i in range(20):\n print('out', i, flush=True)\n print('err', i, file=sys.stderr, flush=True)"
	result := run(t, fork(t), zeroboot.Request{Code: code, OnOutput: func(stream zeroboot.Stream, data []byte) error {
		switch stream {
		case zeroboot.Stdout:
			out.Write(data)
		case zeroboot.Stderr:
			err.Write(data)
		default:
			t.Errorf("stream %d", stream)
		}
		return nil
	}})
	if out.Len() == 0 || !bytes.Equal(out.Bytes(), result.Stdout) || !bytes.Equal(err.Bytes(), result.Stderr) {
		t.Errorf("got %q and %q, want %q and %q", out.Bytes(), err.Bytes(), result.Stdout, result.Stderr)
	}
}

func TestOutputIsTheCalleesToKeep(t *testing.T) {
	var pieces [][]byte
	result := run(t, fork(t), zeroboot.Request{
		Code:     "for i in range(100): print(i, flush=True)",
		OnOutput: func(_ zeroboot.Stream, data []byte) error { pieces = append(pieces, data); return nil },
	})
	if got := bytes.Join(pieces, nil); !bytes.Equal(got, result.Stdout) {
		t.Errorf("got %q, want %q", got, result.Stdout)
	}
}

func TestAnErrorOfACallbackEndsTheRunAndIsWrapped(t *testing.T) {
	full := fmt.Errorf("the disk is full")
	calls := 0
	result := run(t, fork(t), zeroboot.Request{Code: loop, OnOutput: func(zeroboot.Stream, []byte) error {
		calls++
		return full
	}})
	expectOutcome(t, result, zeroboot.Cancelled, "")
	err := result.Err()
	if calls != 1 || !errors.Is(err, full) || !errors.Is(err, zeroboot.ErrCancelled) || errors.Is(err, context.Canceled) {
		t.Errorf("%d calls, %v", calls, err)
	}
}

func TestOutputAtItsLimitIsKept(t *testing.T) {
	result := run(t, fork(t), zeroboot.Request{Code: "while True: print('x' * 9)", MaxOutput: 25})
	expectOutcome(t, result, zeroboot.OutputLimit, "xxxxxxxxx\nxxxxxxxxx\nxxxxx")
	if !errors.Is(result.Err(), zeroboot.ErrOutputLimit) {
		t.Errorf("got %v", result.Err())
	}
	result = run(t, fork(t), zeroboot.Request{Code: "print('fine')", MaxOutput: zeroboot.NoLimit, Timeout: zeroboot.NoTimeout})
	expectOutcome(t, result, zeroboot.Exited, "fine\n")
}

func TestASignalAndAnExitCodeAreErrorsOfTheirOwn(t *testing.T) {
	var exit *zeroboot.ExitError
	err := run(t, fork(t), zeroboot.Request{Code: "import os; os.kill(os.getpid(), 9)"}).Err()
	if !errors.As(err, &exit) || exit.Signal != syscall.SIGKILL || !errors.Is(err, zeroboot.ErrSignaled) {
		t.Errorf("got %v", err)
	}
	err = run(t, fork(t), zeroboot.Request{Code: "raise SystemExit(3)"}).Err()
	if !errors.As(err, &exit) || exit.ExitCode != 3 || errors.Is(err, zeroboot.ErrSignaled) {
		t.Errorf("got %v", err)
	}
}

func TestTheResultSaysHowLongItTook(t *testing.T) {
	started := time.Now()
	result := run(t, fork(t), zeroboot.Request{Code: "pass"})
	if took := time.Since(started); result.Elapsed <= 0 || result.Elapsed > took {
		t.Errorf("elapsed %v of %v", result.Elapsed, took)
	}
}

func TestProfilingSignalsDoNotDisturbRuns(t *testing.T) {
	sandbox := fork(t)
	if err := pprof.StartCPUProfile(&bytes.Buffer{}); err != nil {
		t.Skip(err)
	}
	defer pprof.StopCPUProfile()
	code := "s = 0\nfor i in range(1000000): s += i\nprint(s)"
	for i := 0; i < 5; i++ {
		expectOutcome(t, run(t, sandbox, zeroboot.Request{Code: code}), zeroboot.Exited, "499999500000\n")
	}
}

func TestSignalsOfTheGoRuntimeDoNotDisturbForks(t *testing.T) {
	s := snapshot(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	thread := syscall.Gettid()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(500 * time.Microsecond)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
				syscall.Tgkill(syscall.Getpid(), thread, syscall.SIGURG) // as Go preempts goroutines
			}
		}
	}()
	defer func() {
		close(stop)
		<-stopped
	}()
	for i := 0; i < 500; i++ {
		sandbox, err := s.Fork(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			expectFine(t, sandbox)
		}
		sandbox.Close()
	}
}

func TestAHundredGoroutinesRunASandboxEachAtTheSameTime(t *testing.T) {
	s := snapshot(t)
	var forked, done sync.WaitGroup
	for g := 0; g < 100; g++ {
		forked.Add(1)
		done.Add(1)
		go func(g int) {
			defer done.Done()
			sandbox, err := s.Fork(context.Background())
			forked.Done()
			if err != nil {
				t.Error(err)
				return
			}
			defer sandbox.Close()
			forked.Wait()
			result, err := sandbox.Run(context.Background(), zeroboot.Request{Code: fmt.Sprintf("print(%d)", g)})
			if err != nil || result.Err() != nil || string(result.Stdout) != fmt.Sprintln(g) {
				t.Errorf("%d: %v, %+v", g, err, result)
			}
		}(g)
	}
	done.Wait()
}

func TestGoroutinesForkRunCancelAndCloseAtTheSameTime(t *testing.T) {
	s := snapshot(t)
	const goroutines, rounds = 8, 16
	var wait sync.WaitGroup
	for g := 0; g < goroutines; g++ {
		wait.Add(1)
		go func(g int) {
			defer wait.Done()
			random := rand.New(rand.NewSource(int64(g)))
			for round := 0; round < rounds; round++ {
				if err := oneLife(s, g*rounds+round, random.Intn(4)); err != nil {
					t.Error(err)
				}
			}
		}(g)
	}
	wait.Wait()
}

// oneLife forks a sandbox, runs something, and ends it in one of four ways.
func oneLife(s *zeroboot.Snapshot, number, way int) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sandbox, err := s.Fork(ctx)
	if err != nil {
		return err
	}
	defer sandbox.Close()
	want, request := zeroboot.Cancelled, zeroboot.Request{Code: loop}
	switch way {
	case 0:
		want, request.Code = zeroboot.Exited, fmt.Sprintf("print(%d)", number)
	case 1:
		want, request.Timeout = zeroboot.TimedOut, 20*time.Millisecond
	case 2:
		request.OnOutput = func(zeroboot.Stream, []byte) error { cancel(); return nil }
	case 3:
		request.OnOutput = func(zeroboot.Stream, []byte) error { return sandbox.Close() }
	}
	result, err := sandbox.Run(ctx, request)
	if err != nil {
		return err
	}
	if result.Outcome != want {
		return fmt.Errorf("way %d: %v (%s)", way, result.Outcome, result.Message)
	}
	if way == 0 && string(result.Stdout) != fmt.Sprintln(number) {
		return fmt.Errorf("printed %q instead of %d", result.Stdout, number)
	}
	return nil
}
