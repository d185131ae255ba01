package zeroboot_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/zeroboot/zeroboot/bindings/go"
)

func Example() {
	snapshot, err := zeroboot.Load(os.Getenv("TEMPLATE"))
	if err != nil {
		log.Fatal(err)
	}
	defer snapshot.Close()

	ctx := context.Background()
	sandbox, err := snapshot.Fork(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer sandbox.Close()

	result, err := sandbox.Run(ctx, zeroboot.Request{Code: "print(6*7)", Timeout: 2 * time.Second})
	if err != nil {
		log.Fatal(err) // zeroboot could not run it
	}
	if err := result.Err(); err != nil {
		log.Fatalf("%v\n%s", err, result.Stderr) // it ran, and failed
	}
	fmt.Printf("%s", result.Stdout)
	// Output: 42
}

func ExampleSandbox_Run_streaming() {
	snapshot, err := zeroboot.Load(os.Getenv("TEMPLATE"))
	if err != nil {
		log.Fatal(err)
	}
	defer snapshot.Close()
	sandbox, err := snapshot.Fork(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer sandbox.Close()

	_, err = sandbox.Run(context.Background(), zeroboot.Request{
		Code: "for i in range(3): print(i, flush=True)",
		OnOutput: func(stream zeroboot.Stream, data []byte) error {
			_, err := os.Stdout.Write(data)
			return err // an error stops the program
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// 0
	// 1
	// 2
}

func ExampleResult_Err() {
	snapshot, err := zeroboot.Load(os.Getenv("TEMPLATE"))
	if err != nil {
		log.Fatal(err)
	}
	defer snapshot.Close()
	for _, code := range []string{"pass", "raise SystemExit(3)", "while True: pass"} {
		sandbox, err := snapshot.Fork(context.Background())
		if err != nil {
			log.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		result, err := sandbox.Run(ctx, zeroboot.Request{Code: code})
		cancel()
		sandbox.Close()
		if err != nil {
			log.Fatal(err)
		}
		var exit *zeroboot.ExitError
		switch err := result.Err(); {
		case err == nil:
			fmt.Println("succeeded")
		case errors.Is(err, context.DeadlineExceeded):
			fmt.Println("took too long")
		case errors.As(err, &exit):
			fmt.Println("exit code", exit.ExitCode)
		}
	}
	// Output:
	// succeeded
	// exit code 3
	// took too long
}

func TestTheReadmesProgramIsTheTestedExample(t *testing.T) {
	tests, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(tests), "func Example() {\n")
	body, _, found := strings.Cut(body, "\t// Output")
	if !found || !strings.Contains(string(readme), "func main() {\n"+body+"}\n") {
		t.Error("README.md does not have the body of Example")
	}
}
