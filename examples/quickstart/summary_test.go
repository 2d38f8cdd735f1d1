package main

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
)

const sampleSource = `// Package p has a comment.
package p

// Limits.
const (
	Most = 10 // at most
	few  = 1
)

var V, w int

// T is a type.
type T[K comparable] struct{ K K }

// M does.
func (t *T[K]) M(a int) (b error) { return nil }

func (t *T[K]) m() {}

type hidden int

// Exported, but of a hidden type.
func (h hidden) Exported() {}

func F() { panic(1) }
`

func TestSummary(t *testing.T) {
	enc, err := summarizeSource([]byte(sampleSource))
	if err != nil {
		t.Fatal(err)
	}
	var got Summary
	if err := json.Unmarshal(enc, &got); err != nil {
		t.Fatal(err)
	}
	want := Summary{"p", "Package p has a comment.\n", []Symbol{
		{"const", "Most", "", "at most\n"},
		{"var", "V", "int", ""},
		{"type", "T", "T[K comparable] struct{ K K }", "T is a type.\n"},
		{"func", "T[K].M", "func (t *T[K]) M(a int) (b error)", "M does.\n"},
		{"func", "F", "func F()", ""},
	}, ""}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	again, err := summarizeSource([]byte(sampleSource))
	if err != nil || !bytes.Equal(enc, again) {
		t.Errorf("the same source gave %s, %v and %s", enc, err, again)
	}
}

func TestSummaryOfBrokenSource(t *testing.T) {
	for _, src := range []string{"", "package", "package p\nfunc (", "package p\ntype T struct {", "\x00"} {
		enc, err := summarizeSource([]byte(src))
		if err != nil {
			t.Errorf("%q: %v", src, err)
			continue
		}
		var got Summary
		if err := json.Unmarshal(enc, &got); err != nil || got.Problem == "" {
			t.Errorf("%q: got %s, %v, want a problem", src, enc, err)
		}
	}
}
