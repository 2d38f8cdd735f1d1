package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// childEnv makes this executable a child: a process that has a cache, and that its
// parent may do anything to.
const childEnv = "EMBER_LAB_CHILD"

// A task is what a child does, by its kind.
type task struct {
	Kind string
	Plan json.RawMessage
}

// tasks are the children's. A child reads lines on its input and writes lines of
// JSON.
var tasks = map[string]func(plan []byte, in io.Reader, out *json.Encoder) error{}

// isChild runs what a parent wants, if there is one.
func isChild() bool {
	text, ok := os.LookupEnv(childEnv)
	if !ok {
		return false
	}
	var t task
	err := json.Unmarshal([]byte(text), &t)
	if err == nil {
		err = tasks[t.Kind](t.Plan, os.Stdin, json.NewEncoder(os.Stdout))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "child:", err)
		os.Exit(1)
	}
	return true
}

// A child is a running one. M is what it tells.
type child[M any] struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	told  chan M // closed when nothing more comes
	err   strings.Builder
	ended error
}

// startChild starts one, which ends with ctx at the latest.
func startChild[M any](ctx context.Context, kind string, plan any) (*child[M], error) {
	p, err := json.Marshal(plan)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(task{kind, p})
	if err != nil {
		return nil, err
	}
	c := &child[M]{cmd: exec.CommandContext(ctx, os.Args[0]), told: make(chan M, 64)}
	c.cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	c.cmd.Stderr = &c.err
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		c.stdin, err = c.cmd.StdinPipe()
	}
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	go c.listen(out)
	return c, nil
}

func (c *child[M]) listen(out io.Reader) {
	defer close(c.told)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var m M
		if json.Unmarshal(lines.Bytes(), &m) == nil { // a kill may tear the last
			c.told <- m
		}
	}
	c.ended = c.cmd.Wait()
}

func (c *child[M]) say(text string) { fmt.Fprintln(c.stdin, text) }

func (c *child[M]) kill() { _ = c.cmd.Process.Kill() }

// killed reports whether SIGKILL ended it. It is asked when told is closed.
func (c *child[M]) killed() bool {
	s, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && s.Signaled() && s.Signal() == syscall.SIGKILL
}

// within returns what the child tells next that is wanted.
func (c *child[M]) within(d time.Duration, wanted func(m *M) bool) (m M, err error) {
	end := time.After(d)
	for {
		select {
		case m, ok := <-c.told:
			if !ok {
				return m, fmt.Errorf("the child has ended: %w\n%s", c.ended, tail(c.err.String()))
			}
			if wanted(&m) {
				return m, nil
			}
		case <-end:
			return m, fmt.Errorf("the child has not told what it was to tell within %v", d)
		}
	}
}

// tail is the end of a text that may be long.
func tail(s string) string { return s[max(0, len(s)-8000):] }
