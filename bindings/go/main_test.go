package zeroboot_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/zeroboot/zeroboot/bindings/go"
)

// shared is a snapshot for all tests; nil where there is no KVM and the environment says so.
var shared *zeroboot.Snapshot

// template is the directory of a Python template.
var template = os.Getenv("ZB_TEST_TEMPLATE")

func TestMain(m *testing.M) {
	flag.Parse()
	os.Setenv("TEMPLATE", template) // for the examples
	if os.Getenv("ZB_TEST_NO_KVM") == "1" {
		fmt.Fprintln(os.Stderr, "SKIPPED: examples and tests that need a virtual machine, for ZB_TEST_NO_KVM=1")
		if run := flag.Lookup("test.run"); run.Value.String() == "" {
			run.Value.Set("^Test") // an example cannot skip itself
		}
		os.Exit(m.Run())
	}
	if template == "" {
		fmt.Fprintln(os.Stderr, "ZB_TEST_TEMPLATE is not set: the directory of a Python template; test.sh sets it")
		os.Exit(2)
	}
	var err error
	if shared, err = zeroboot.Load(template); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(m.Run())
}

// snapshot gives the shared snapshot.
func snapshot(tb testing.TB) *zeroboot.Snapshot {
	tb.Helper()
	if shared == nil {
		tb.Skip("it needs a virtual machine, and ZB_TEST_NO_KVM=1")
	}
	return shared
}

// load gives a snapshot of the test's own. What it keeps for later forks goes when it is closed.
func load(tb testing.TB, options ...zeroboot.LoadOption) *zeroboot.Snapshot {
	tb.Helper()
	snapshot(tb)
	s, err := zeroboot.Load(template, options...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

// fork gives a sandbox that is closed after the test.
func fork(tb testing.TB) *zeroboot.Sandbox {
	tb.Helper()
	sandbox, err := snapshot(tb).Fork(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { sandbox.Close() })
	return sandbox
}

// run runs a program that the library takes.
func run(tb testing.TB, sandbox *zeroboot.Sandbox, request zeroboot.Request) *zeroboot.Result {
	tb.Helper()
	result, err := sandbox.Run(context.Background(), request)
	if err != nil {
		tb.Fatal(err)
	}
	return result
}

// expectFine has a sandbox run a program that must succeed.
func expectFine(tb testing.TB, sandbox *zeroboot.Sandbox) {
	tb.Helper()
	expectOutcome(tb, run(tb, sandbox, zeroboot.Request{Code: "print('fine')"}), zeroboot.Exited, "fine\n")
}

func expectOutcome(tb testing.TB, result *zeroboot.Result, outcome zeroboot.Outcome, stdout string) {
	tb.Helper()
	if result.Outcome != outcome || string(result.Stdout) != stdout {
		tb.Fatalf("got %v with the output %q and %q (%s), want %v with %q",
			result.Outcome, result.Stdout, result.Stderr, result.Message, outcome, stdout)
	}
}

// loop is a program that says when it has begun, and never ends.
const loop = "print('begun', flush=True)\nwhile True: pass"

// begun makes an OnOutput that closes the channel when the program has said something.
func begun() (func(zeroboot.Stream, []byte) error, <-chan struct{}) {
	started := make(chan struct{})
	first := true
	return func(zeroboot.Stream, []byte) error {
		if first {
			close(started)
			first = false
		}
		return nil
	}, started
}
