package zeroboot_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/zeroboot/zeroboot/bindings/go"
)

// A conformanceCase is what ../../tests/conformance/README.md describes.
type conformanceCase struct {
	Name       string            `json:"name"`
	Code       string            `json:"code"`
	CodeRepeat []any             `json:"code_repeat"`
	Runs       []conformanceCase `json:"runs"`
	Options    struct {
		TimeoutMs      int64 `json:"timeout_ms"`
		MaxOutputBytes int64 `json:"max_output_bytes"`
	} `json:"options"`
	Outcome        string   `json:"outcome"`
	ExitCode       int      `json:"exit_code"`
	Signal         int      `json:"signal"`
	Stdout         *string  `json:"stdout"`
	Stderr         *string  `json:"stderr"`
	StdoutHex      *string  `json:"stdout_hex"`
	StdoutContains []string `json:"stdout_contains"`
	StderrContains []string `json:"stderr_contains"`
	StdoutSha256   *string  `json:"stdout_sha256"`
	StdoutLen      *int     `json:"stdout_len"`
	Alive          *bool    `json:"alive"`
	Error          string   `json:"error"`
}

func TestConformance(t *testing.T) {
	text, err := os.ReadFile("../../tests/conformance/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []conformanceCase
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		c := c
		t.Run(c.Name, func(t *testing.T) {
			sandbox := fork(t)
			if c.Runs == nil {
				c.Runs = []conformanceCase{c}
			}
			for _, run := range c.Runs {
				run.check(t, sandbox)
			}
		})
	}
}

func (c *conformanceCase) check(t *testing.T, sandbox *zeroboot.Sandbox) {
	code := c.Code
	if c.CodeRepeat != nil {
		code = strings.Repeat(c.CodeRepeat[0].(string), int(c.CodeRepeat[1].(float64)))
	}
	result, err := sandbox.Run(context.Background(), zeroboot.Request{
		Code:      code,
		Timeout:   time.Duration(c.Options.TimeoutMs) * time.Millisecond,
		MaxOutput: c.Options.MaxOutputBytes,
	})
	if c.Error != "" {
		if want := statusNamed(t, c.Error); result != nil || !errors.Is(err, want) {
			t.Fatalf("got %v and the error %v, want the error %v", result, err, want)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	c.checkEnd(t, result)
	c.checkOutput(t, result)
	alive := result.Outcome == zeroboot.Exited
	if c.Alive != nil {
		alive = *c.Alive
	}
	if sandbox.Alive() != alive {
		t.Errorf("alive: got %v, want %v", !alive, alive)
	}
}

func (c *conformanceCase) checkEnd(t *testing.T, result *zeroboot.Result) {
	exitCode := -1
	if result.Outcome == zeroboot.Exited || result.Outcome == zeroboot.ProcessExited {
		exitCode = c.ExitCode
	}
	if result.Outcome.String() != c.Outcome || result.ExitCode != exitCode || int(result.Signal) != c.Signal {
		t.Fatalf("got %v, code %d, signal %d (%s; %q), want %s, code %d, signal %d", result.Outcome, result.ExitCode,
			result.Signal, result.Message, result.Stderr, c.Outcome, exitCode, c.Signal)
	}
	if succeeded := exitCode == 0; (result.Err() == nil) != succeeded {
		t.Errorf("got the error %v for exit code %d", result.Err(), result.ExitCode)
	}
}

func (c *conformanceCase) checkOutput(t *testing.T, result *zeroboot.Result) {
	checkText(t, "stdout", string(result.Stdout), c.Stdout, c.StdoutContains)
	checkText(t, "stderr", string(result.Stderr), c.Stderr, c.StderrContains)
	if got := hex.EncodeToString(result.Stdout); c.StdoutHex != nil && got != *c.StdoutHex {
		t.Errorf("stdout: got %s, want %s", got, *c.StdoutHex)
	}
	if c.StdoutLen != nil && len(result.Stdout) != *c.StdoutLen {
		t.Errorf("stdout: got %d bytes, want %d", len(result.Stdout), *c.StdoutLen)
	}
	sum := sha256.Sum256(result.Stdout)
	if got := hex.EncodeToString(sum[:]); c.StdoutSha256 != nil && got != *c.StdoutSha256 {
		t.Errorf("stdout: got the hash %s, want %s", got, *c.StdoutSha256)
	}
}

func checkText(t *testing.T, name, got string, want *string, contains []string) {
	if want != nil && got != *want {
		t.Errorf("%s: got %q, want %q", name, got, *want)
	}
	rest := got
	for _, part := range contains {
		at := strings.Index(rest, part)
		if at < 0 {
			t.Fatalf("%s: %q, or not in its place: %q", name, got, part)
		}
		rest = rest[at+len(part):]
	}
}

// constants reads those of the C header whose name has a prefix.
func constants(t *testing.T, prefix string) map[string]int {
	t.Helper()
	header, err := os.ReadFile("../../include/zeroboot.h")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, match := range regexp.MustCompile(`#define `+prefix+`(\w+) (\d+)`).FindAllStringSubmatch(string(header), -1) {
		found[match[1]], _ = strconv.Atoi(match[2])
	}
	if len(found) == 0 {
		t.Fatalf("no %s in the header", prefix)
	}
	return found
}

func statusNamed(t *testing.T, name string) zeroboot.Status {
	t.Helper()
	status, ok := constants(t, "ZB_ERR_")[name]
	if !ok {
		t.Fatalf("the header has no ZB_ERR_%s", name)
	}
	return zeroboot.Status(status)
}

func TestEveryStatusAndOutcomeOfTheHeaderHasAName(t *testing.T) {
	for name, number := range constants(t, "ZB_ERR_") {
		if text := zeroboot.Status(number).Error(); strings.Contains(text, "status ") {
			t.Errorf("ZB_ERR_%s: %s", name, text)
		}
	}
	for name, number := range constants(t, "ZB_OUTCOME_") {
		if text := zeroboot.Outcome(number).String(); text != strings.ToLower(name) {
			t.Errorf("ZB_OUTCOME_%s: %s", name, text)
		}
	}
}
