package zeroboot_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zeroboot/zeroboot/bindings/go"
)

// usage is what a process has of the system's things.
type usage struct {
	files, mappings, threads, goroutines int
	residentKiB                          int
}

func measure(t *testing.T) usage {
	t.Helper()
	debug.FreeOSMemory()
	// A pipe has Go start its poller, which takes two files for good.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	w.Close()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return usage{
		files:       len(files),
		mappings:    bytes.Count(maps, []byte("\n")),
		threads:     statusLine(t, "Threads:"),
		goroutines:  runtime.NumGoroutine(),
		residentKiB: statusLine(t, "VmRSS:"),
	}
}

func statusLine(t *testing.T, key string) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), key)
	number, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return number
}

// expectFlat compares with an earlier measurement. Go itself starts a thread or maps a piece of
// memory now and then, and never in step with the cycles.
func expectFlat(t *testing.T, before usage) {
	t.Helper()
	after := measure(t)
	t.Logf("before %+v, after %+v", before, after)
	if after.files > before.files || after.goroutines > before.goroutines || after.threads > before.threads+4 ||
		after.mappings > before.mappings+20 || after.residentKiB > before.residentKiB+16<<10 {
		t.Errorf("something was left behind: before %+v, after %+v", before, after)
	}
}

// closeIdle replaces the shared snapshot, which may hold machines that it gives up at any time, and
// waits for the finalisers of what earlier tests forgot.
func closeIdle(t *testing.T) {
	t.Helper()
	snapshot(t).Close()
	for deadline := time.Now().Add(30 * time.Second); machines(t) > 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d machines of earlier tests", machines(t))
		}
		runtime.GC()
	}
	var err error
	if shared, err = zeroboot.Load(template); err != nil {
		t.Fatal(err)
	}
}

// machines counts the virtual machines that this process has.
func machines(t *testing.T) int {
	t.Helper()
	files, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, file := range files {
		if target, err := os.Readlink(file); err == nil && strings.Contains(target, "kvm-vcpu") {
			count++
		}
	}
	return count
}

// cycles loads a snapshot, since what is recycled is there until that is closed.
func cycles(t *testing.T, count int) {
	t.Helper()
	s := load(t)
	defer s.Close()
	for i := 0; i < count; i++ {
		sandbox, err := s.Fork(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 {
			expectFine(t, sandbox)
		}
		sandbox.Close()
	}
}

func TestTenThousandCyclesLeaveNothingBehind(t *testing.T) {
	closeIdle(t)
	count := 10000
	if testing.Short() {
		count = 500
	}
	cycles(t, 200)
	before := measure(t)
	cycles(t, count)
	expectFlat(t, before)
}

func TestLoadingAgainAndAgainLeavesNothingBehind(t *testing.T) {
	closeIdle(t)
	load := func(count int) {
		for i := 0; i < count; i++ {
			s, err := zeroboot.Load(template)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := zeroboot.Load("/nonexistent"); err == nil {
				t.Fatal("loaded what is not there")
			}
			s.Close()
		}
	}
	load(50)
	before := measure(t)
	load(500)
	expectFlat(t, before)
}

func TestRunsOfEveryKindLeaveNothingBehind(t *testing.T) {
	closeIdle(t)
	lives := func(count int) {
		s := load(t)
		defer s.Close()
		for i := 0; i < count; i++ {
			for way := 0; way < 4; way++ {
				if err := oneLife(s, i, way); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	lives(5)
	before := measure(t)
	lives(50)
	expectFlat(t, before)
}

func TestWhatAProgramForgetsIsFreedByTheCollector(t *testing.T) {
	closeIdle(t)
	s := load(t, zeroboot.RecycleMax(0))
	forget := func(count int) {
		for i := 0; i < count; i++ {
			if _, err := s.Fork(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	runtime.GC()
	before := measure(t)
	forget(50)
	// A finaliser is not awaited by GC, and runs after those of earlier collections.
	deadline := time.Now().Add(10 * time.Second)
	for after := measure(t); after.files > before.files; after = measure(t) {
		if time.Now().After(deadline) {
			t.Fatalf("%d files before, %d after", before.files, after.files)
		}
		runtime.Gosched()
	}
}

func TestTheCollectorDoesNotTakeWhatIsInUse(t *testing.T) {
	s := snapshot(t)
	stop := make(chan struct{})
	var collector, runs sync.WaitGroup
	collector.Add(1)
	go func() {
		defer collector.Done()
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	}()
	for g := 0; g < 4; g++ {
		runs.Add(1)
		go func(g int) {
			defer runs.Done()
			for i := 0; i < 25; i++ {
				if err := useOnce(s, g*25+i); err != nil {
					t.Error(err)
				}
			}
		}(g)
	}
	runs.Wait()
	close(stop)
	collector.Wait()
}

// useOnce has nothing but the running call refer to a sandbox, and makes garbage in its callback.
func useOnce(s *zeroboot.Snapshot, number int) error {
	sandbox, err := s.Fork(context.Background())
	if err != nil {
		return err
	}
	text := strings.Repeat(fmt.Sprint(number%10), 2000)
	var pieces []byte
	result, err := sandbox.Run(context.Background(), zeroboot.Request{
		Code: "for i in range(3): print('" + text + "', flush=True)",
		OnOutput: func(_ zeroboot.Stream, data []byte) error {
			pieces = append(append(make([]byte, 0, 1<<16), pieces...), data...)
			return nil
		},
	})
	if err != nil {
		return err
	}
	if want := strings.Repeat(text+"\n", 3); string(result.Stdout) != want || string(pieces) != want {
		return fmt.Errorf("%d: got %q and %q", number, result.Stdout, pieces)
	}
	return nil
}
