package fuzzing

import "runtime/metrics"

// Allocated is how many bytes this process has ever taken from the heap. What is
// small is counted late, some 100 KiB at the most; what is large, at once.
func Allocated() uint64 {
	sample := [1]metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample[:])
	return sample[0].Value.Uint64()
}
