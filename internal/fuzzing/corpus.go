package fuzzing

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// corpusHeader begins each file of a corpus, as go test writes them.
const corpusHeader = "go test fuzz v1"

// encode is what go test reads: the two arguments of a fuzz test.
func encode(in Input) []byte {
	return fmt.Appendf(nil, "%s\n[]byte(%q)\nbyte(%q)\n", corpusHeader, in.Bytes, rune(in.Mode))
}

// Corpus reads the inputs that a folder keeps, in the order of their names; none
// if it does not exist.
func Corpus(dir string) (list []Input, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		in, err := decode(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, e.Name()), err)
		}
		list = append(list, in)
	}
	return list, nil
}

func decode(b []byte) (in Input, err error) {
	lines := strings.Split(string(bytes.TrimSpace(b)), "\n")
	if len(lines) != 3 || lines[0] != corpusHeader {
		return in, fmt.Errorf("not a file of a corpus of two arguments")
	}
	text, err := strconv.Unquote(between(lines[1], "[]byte(", ")"))
	if err != nil {
		return in, fmt.Errorf("%.40s: %w", lines[1], err)
	}
	quoted := between(lines[2], "byte('", "')")
	mode, _, _, err := strconv.UnquoteChar(quoted, '\'')
	if err != nil {
		return in, fmt.Errorf("%s: %w", lines[2], err)
	}
	return Input{[]byte(text), byte(mode)}, nil
}

// between returns "" for a line of another form, which nothing unquotes.
func between(line, before, after string) string {
	line, ok := strings.CutPrefix(line, before)
	if line, closed := strings.CutSuffix(line, after); ok && closed {
		return line
	}
	return ""
}
