package main

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if isChild() {
		return
	}
	os.Exit(m.Run())
}
