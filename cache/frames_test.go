package cache

import "testing"

// TestFramesAreReadyBeforeTheyAreTaken: as many as what was taken lately asks for, in
// whole huge pages, and no more.
func TestFramesAreReadyBeforeTheyAreTaken(t *testing.T) {
	f, err := newFrames(100, maxSegment)
	if err != nil {
		t.Fatal(err)
	}
	defer f.arena.release()
	if first := f.takeRun(3); first != 0 {
		t.Fatalf("got frame %d, want 0", first)
	}
	for _, step := range []struct{ take, warm int }{
		{0, 8},   // 4, to the end of the huge page
		{2, 16},  // 5 taken, 4 and 4 to be ready
		{20, 72}, // 25 taken, 4 and 40 to be ready
		{0, 72},
		{75, 100}, // all
	} {
		for range step.take {
			f.take(0)
		}
		if f.tick(); f.warm != step.warm {
			t.Errorf("%d frames taken: got %d in memory, want %d", f.fresh, f.warm, step.warm)
		}
	}
}
