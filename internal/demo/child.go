package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// childEnv marks a process that Start made.
const childEnv = "EMBER_DEMO_CHILD"

// IsChild reports whether Start made this process.
func IsChild() bool { return os.Getenv(childEnv) != "" }

// A Pipe sends and receives JSON values. One goroutine may send while another
// receives.
type Pipe struct {
	enc *json.Encoder
	dec *json.Decoder
}

// Parent returns the child's end of the pipe.
func Parent() *Pipe { return newPipe(os.Stdin, os.Stdout) }

func newPipe(r io.Reader, w io.Writer) *Pipe {
	return &Pipe{json.NewEncoder(w), json.NewDecoder(r)}
}

// Send writes v as one line.
func (p *Pipe) Send(v any) error { return p.enc.Encode(v) }

// Receive waits for the next value. It returns io.EOF or io.ErrUnexpectedEOF
// when the other side has ended.
func (p *Pipe) Receive(v any) error { return p.dec.Decode(v) }

// A Child is a running copy of this executable.
type Child struct {
	*Pipe
	Started time.Time // just before it was started
	cmd     *exec.Cmd
	stdin   io.Closer
}

// Start runs this executable again, without arguments; its IsChild is true. The
// child is killed when ctx ends. Its standard error is that of this process.
func Start(ctx context.Context) (*Child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own executable: %w", err)
	}
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c := &Child{Pipe: newPipe(out, in), Started: time.Now(), cmd: cmd, stdin: in}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start child: %w", err)
	}
	return c, nil
}

// PID is the child's process ID.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Kill ends the child at once, with SIGKILL where there are signals. What the
// child has sent can still be received; then call Wait.
func (c *Child) Kill() error { return c.cmd.Process.Kill() }

// Wait waits for the child to end, which it does by itself when it notices that
// nobody sends. Nothing can be received afterwards. It returns how the child
// ended, which after Kill is an error.
func (c *Child) Wait() error {
	c.stdin.Close()
	return c.cmd.Wait()
}
