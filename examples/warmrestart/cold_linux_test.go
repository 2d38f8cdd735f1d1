package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDropFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	want := "still there"
	if err := os.WriteFile(name, []byte(want), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := dropFile(name); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(name); err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if dropFile(name+"2") == nil {
		t.Error("got no error for a file that is not there")
	}
}
