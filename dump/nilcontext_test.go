package dump

import (
	"context"
	"testing"
)

// TestANilContextPanicsFirst: nobody waits for a leader that there is not.
func TestANilContextPanicsFirst(t *testing.T) {
	var none context.Context
	r := newRig(t, 1, nil)
	for name, do := range map[string]func(){
		"Flush": func() { _, _ = r.d.Flush(none) },
		"Begin": func() { _ = r.d.Begin(none) },
		"Close": func() { _ = r.d.Close(none) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s did not panic", name)
				}
			}()
			do()
		}()
		if r.d.flying || r.d.closed {
			t.Fatalf("%s: flying %v, closed %v", name, r.d.flying, r.d.closed)
		}
	}
	if g := r.flush(); g == 0 {
		t.Error("no generation")
	}
	if err := r.d.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
