package fuzzing

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// A trace is a file of the input that is being checked, or that has failed.
type trace struct {
	name string
	file *os.File // nil: not there yet
	size int      // bytes
}

func newTrace(target string) *trace {
	return &trace{name: filepath.Join(os.TempDir(), fmt.Sprintf("%s-%d.input", target, os.Getpid()))}
}

// keep puts the input in the place of the one before it. What that had more becomes
// blanks, which Corpus passes over: to cut the file off costs as much as a check.
func (t *trace) keep(in Input) (err error) {
	if t.file == nil {
		if t.file, err = os.OpenFile(t.name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
			return err
		}
	}
	b := encode(in)
	if more := t.size - len(b); more > 0 {
		b = append(b, bytes.Repeat([]byte{' '}, more)...)
	}
	t.size = len(b)
	_, err = t.file.WriteAt(b, 0)
	return err
}

// drop removes the file.
func (t *trace) drop() {
	if t.file != nil {
		t.file.Close()
		os.Remove(t.name)
	}
}
