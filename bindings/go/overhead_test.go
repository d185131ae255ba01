package zeroboot_test

import (
	"context"
	"sort"
	"testing"
	"time"

	"github.com/zeroboot/zeroboot/bindings/go"
)

// BenchmarkOverhead times what Run takes beyond the run itself: the clock of Run, less what the
// library says that handing over the program, running and collecting its output took.
func BenchmarkOverhead(b *testing.B) {
	b.Run("plain", func(b *testing.B) {
		overhead(b, context.Background(), zeroboot.Request{Code: "print(6*7)"})
	})
	b.Run("cancellable", func(b *testing.B) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		overhead(b, ctx, zeroboot.Request{Code: "print(6*7)"})
	})
	b.Run("streaming", func(b *testing.B) {
		overhead(b, context.Background(), zeroboot.Request{
			Code:     "print(6*7)",
			OnOutput: func(zeroboot.Stream, []byte) error { return nil },
		})
	})
}

func overhead(b *testing.B, ctx context.Context, request zeroboot.Request) {
	sandbox := fork(b)
	samples := make([]time.Duration, b.N)
	elapsed := make([]time.Duration, b.N)
	run(b, sandbox, request) // the first run in a sandbox is another thing
	b.ResetTimer()
	for i := range samples {
		started := time.Now()
		result, err := sandbox.Run(ctx, request)
		took := time.Since(started)
		if err != nil || string(result.Stdout) != "42\n" {
			b.Fatal(result, err)
		}
		elapsed[i], samples[i] = result.Elapsed, took-result.Elapsed
	}
	b.StopTimer()
	report(b, elapsed, 0.50, "us-run-p50")
	report(b, samples, 0.50, "us-overhead-p50")
	report(b, samples, 0.99, "us-overhead-p99")
}

func report(b *testing.B, samples []time.Duration, quantile float64, unit string) {
	sort.Slice(samples, func(i, j int) bool { return samples[i] < samples[j] })
	at := int(quantile * float64(len(samples)-1))
	b.ReportMetric(float64(samples[at].Nanoseconds())/1e3, unit)
}
