package deploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A Process is a running server.
type Process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended
	err  error         // how, then
}

// Start starts a server; what it logs is appended to a file. It is killed when
// ctx ends.
func Start(ctx context.Context, log string, command ...string) (*Process, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p := &Process{cmd: exec.CommandContext(ctx, command[0], command[1:]...), log: log, done: make(chan struct{})}
	p.cmd.Stderr = f
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Signal sends a signal; Wait waits for the end.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Wait returns nil for exit status 0.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// Stop ends the process as a deploy does.
func (p *Process) Stop() error { return errors.Join(p.Signal(syscall.SIGTERM), p.Wait()) }

// WaitReady asks until the service is ready and returns what it says then. The
// process that had the address before must have ended.
func (p *Process) WaitReady(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		status, body, err := Ask(ctx, url+"/readyz")
		if status == http.StatusOK {
			return body, nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-p.done:
			return "", fmt.Errorf("server has ended: %v; it said:\n%s", p.err, p.said())
		case <-ctx.Done():
			return "", fmt.Errorf("server is not ready: %v %s %w; it said:\n%s", err, body, ctx.Err(), p.said())
		}
	}
}

// said is the end of what the server, and those before it, have logged.
func (p *Process) said() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(len(lines)-10, 0):], "\n")
}

// Ask gets a page over a connection of its own.
func Ask(ctx context.Context, url string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return 0, "", err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// build builds the service, as it is in the current folder, into dir.
func build(ctx context.Context, dir string) (binary string, err error) {
	binary = filepath.Join(dir, "webservice")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/embercache/ember/examples/webservice").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the service: %w\n%s", err, out)
	}
	return binary, nil
}

func copyFile(dst, src string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(dst)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
