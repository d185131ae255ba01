package zeroboot

// #include <stdint.h>
// #include <zeroboot.h>
import "C"

import "runtime/cgo"

// zerobootOutput hands a piece of output to Run, and waits for what it says to it. The library
// calls it inside flight.run.
//
//export zerobootOutput
func zerobootOutput(handle C.uintptr_t, stream C.uint32_t, data *C.char, length C.size_t) C.int32_t {
	f := cgo.Handle(handle).Value().(*flight)
	select {
	case f.pieces <- piece{Stream(stream), goBytes(data, length)}:
	case <-f.stop:
		return 1
	}
	select {
	case verdict := <-f.verdicts:
		return verdict
	case <-f.stop:
		return 1
	}
}
