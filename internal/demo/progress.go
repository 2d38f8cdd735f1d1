package demo

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// progressEvery is the shortest time between two changes of the line.
const progressEvery = 100 * time.Millisecond

// A Progress is one line that changes in place on a terminal, and nothing at
// all anywhere else. It is not for concurrent use.
type Progress struct {
	file  *os.File // nil: not a terminal
	last  time.Time
	width int // of the line shown
}

// NewProgress returns a Progress for f.
func NewProgress(f *os.File) *Progress {
	if !isTerminal(f) {
		f = nil
	}
	return &Progress{file: f}
}

// isTerminal takes a character device other than the null device for one.
func isTerminal(f *os.File) bool {
	st, err := f.Stat()
	if err != nil || st.Mode()&os.ModeCharDevice == 0 || os.Getenv("TERM") == "dumb" {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(st, null)
}

// Show replaces the line, unless it changed a moment ago.
func (p *Progress) Show(format string, args ...any) {
	if p.file == nil || time.Since(p.last) < progressEvery {
		return
	}
	p.last = time.Now()
	p.replace(fmt.Sprintf(format, args...))
}

// Clear removes the line.
func (p *Progress) Clear() {
	if p.file != nil && p.width > 0 {
		p.replace("")
		fmt.Fprint(p.file, "\r")
	}
	p.last = time.Time{}
}

// replace pads with spaces, which old consoles understand as well as new ones.
func (p *Progress) replace(line string) {
	pad := max(0, p.width-len(line))
	fmt.Fprint(p.file, "\r"+line+strings.Repeat(" ", pad))
	p.width = len(line)
}
