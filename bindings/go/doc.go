// Package zeroboot runs programs in virtual machines that start in less than a millisecond.
//
// A template is a virtual machine that has booted and warmed up its language's runtime; its memory
// and processor state are a snapshot on disk. [Load] opens one, [Snapshot.Fork] makes a sandbox of
// it, which is a virtual machine of its own, and [Sandbox.Run] runs a program there:
//
//	snapshot, err := zeroboot.Load(dir) // "zeroboot template inspect --path python" prints it
//	sandbox, err := snapshot.Fork(ctx)
//	result, err := sandbox.Run(ctx, zeroboot.Request{Code: "print(6*7)"})
//
// # Errors and results
//
// What a program does is a result: one that fails, hangs, floods its output or takes its virtual
// machine down gives a [Result] and a nil error, and so does a run that was cancelled. [Result.Err]
// makes an error of it for those who want one:
//
//	result.Err()                                     // nil if the program succeeded
//	errors.As(err, &exitError)                       // *ExitError, with the whole Result in it
//	errors.Is(err, zeroboot.ErrTimeout)              // and context.DeadlineExceeded
//	errors.Is(err, context.Canceled)                 // the run's context was cancelled
//
// A function's own error says that it could not do its work: an [*Error] of the library, which
// errors.Is compares with a [Status] such as [ErrNotFound], [ErrClosed], or the error of a context
// that was done before the work began.
//
// # Closing
//
// Snapshots and sandboxes hold files and memory that the garbage collector knows nothing of, so
// close them. A finaliser frees what a program forgets, at some time. They may be closed in any
// order, several times, and while they are in use.
//
// # Recycling
//
// The virtual machine of a closed sandbox is put back to the snapshot's state, byte for byte, and
// given to a later [Snapshot.Fork]: [RecycleMax] says how many are kept, and [Fresh] asks for one in
// which no program ever ran. [Prewarm] has new ones made ahead. This is done by a thread of the
// library's, which ends with [Snapshot.Close].
//
// # Goroutines
//
// Everything may be called from any goroutine. A sandbox runs one program at a time; a second one
// gets [ErrBusy]. A run in flight occupies one thread of the operating system, and stopping it (by
// its context, or by [Sandbox.Close]) takes some milliseconds.
package zeroboot
