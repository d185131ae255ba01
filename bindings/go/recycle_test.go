package zeroboot_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zeroboot/zeroboot/bindings/go"
)

// filesOfAMachine is how counting files tells whether one was kept, reused, or made.
const filesOfAMachine = 2

const leaveMarks = `
import builtins, os
print(hasattr(builtins, "mark"), os.path.exists("/tmp/mark"), "mark" in globals())
builtins.mark = mark = 1
open("/tmp/mark", "w").close()
`

const noMarks = "False False False\n"

func countFiles(t *testing.T) int {
	t.Helper()
	return measure(t).files
}

// libraryThreads counts the threads that are the library's own.
func libraryThreads(t *testing.T) int {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/comm")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, task := range tasks {
		// It may have ended since.
		if name, err := os.ReadFile(task); err == nil && strings.HasPrefix(string(name), "zeroboot-keeper") {
			count++
		}
	}
	return count
}

// expectSoon waits for what the library's thread does a little later.
func expectSoon(t *testing.T, what string, count func(*testing.T) int, want int) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); count(t) != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d %s, want %d", count(t), what, want)
		}
	}
}

func forkOf(t *testing.T, s *zeroboot.Snapshot, options ...zeroboot.ForkOption) *zeroboot.Sandbox {
	t.Helper()
	sandbox, err := s.Fork(context.Background(), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sandbox.Close() })
	return sandbox
}

func expectNoMarks(t *testing.T, sandbox *zeroboot.Sandbox) {
	t.Helper()
	expectOutcome(t, run(t, sandbox, zeroboot.Request{Code: leaveMarks}), zeroboot.Exited, noMarks)
}

func TestAMachineIsUsedAgainAndHasNothingOfTheProgramBefore(t *testing.T) {
	closeIdle(t)
	s := load(t, zeroboot.RecycleMax(1))
	one := countFiles(t) + filesOfAMachine
	reused := 0
	for i := 0; i < 1000 && reused < 5; i++ {
		sandbox := forkOf(t, s)
		// A new one, if the other is being put back at this moment.
		if i > 0 && countFiles(t) == one {
			reused++
		}
		expectNoMarks(t, sandbox)
		sandbox.Close()
		expectSoon(t, "files", countFiles, one)
	}
	if reused != 5 {
		t.Fatalf("reused %d times", reused)
	}
	fresh := forkOf(t, s, zeroboot.Fresh())
	if files := countFiles(t); files != one+filesOfAMachine {
		t.Errorf("%d files with a fresh machine, %d with the kept one", files, one)
	}
	expectNoMarks(t, fresh)
}

func TestNoMoreMachinesAreKeptThanAskedForAndNoneAfterTheSnapshot(t *testing.T) {
	closeIdle(t)
	for _, most := range []int{0, 2} {
		before := countFiles(t)
		s := load(t, zeroboot.RecycleMax(most))
		loaded := countFiles(t)
		var sandboxes []*zeroboot.Sandbox
		for i := 0; i < 5; i++ {
			sandboxes = append(sandboxes, forkOf(t, s))
		}
		for _, sandbox := range sandboxes {
			sandbox.Close()
		}
		expectSoon(t, "files", countFiles, loaded+most*filesOfAMachine)
		expectSoon(t, "threads", libraryThreads, most/2) // one, or none without recycling
		s.Close()
		expectSoon(t, "threads", libraryThreads, 0)
		if files := countFiles(t); files != before {
			t.Errorf("%d files before, %d after", before, files)
		}
	}
}

func TestMachinesAreMadeAhead(t *testing.T) {
	closeIdle(t)
	s := load(t, zeroboot.RecycleMax(0), zeroboot.Prewarm(0))
	loaded := countFiles(t)
	s.Close()
	s = load(t, zeroboot.RecycleMax(0), zeroboot.Prewarm(2))
	expectSoon(t, "files", countFiles, loaded+2*filesOfAMachine)
	sandbox := forkOf(t, s)
	expectSoon(t, "files", countFiles, loaded+3*filesOfAMachine)
	expectNoMarks(t, sandbox)
}

func TestNumbersOfMachinesThatMakeNoSenseAreRefused(t *testing.T) {
	for _, n := range []int{-1, math.MinInt32, math.MaxUint32, math.MaxInt64} {
		for name, option := range map[string]zeroboot.LoadOption{
			"RecycleMax": zeroboot.RecycleMax(n), "Prewarm": zeroboot.Prewarm(n),
		} {
			_, err := zeroboot.Load("/nonexistent/template", option)
			if !errors.Is(err, zeroboot.ErrInvalidArgument) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s(%d): %v", name, n, err)
			}
		}
	}
	_, err := zeroboot.Load("/nonexistent/template", zeroboot.RecycleMax(math.MaxUint32-1))
	if !errors.Is(err, zeroboot.ErrNotFound) {
		t.Errorf("the largest number: %v", err)
	}
}
