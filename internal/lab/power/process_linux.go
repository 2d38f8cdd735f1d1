package power

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

const (
	roleEnv = "EMBER_POWER" // makes this executable what the rest of it says
	planEnv = "EMBER_POWER_PLAN"

	lifeTimeout = 4 * time.Minute
)

// Child runs what the environment makes of this process, and ends it. A program that
// calls Run calls it first of all.
func Child() {
	role, ok := os.LookupEnv(roleEnv)
	if !ok {
		return
	}
	var err error
	switch text := []byte(os.Getenv(planEnv)); role {
	case "life":
		var p plan
		if err = json.Unmarshal(text, &p); err == nil {
			err = live(p, os.Stdin, os.NewFile(3, "messages"))
		}
	case "lab":
		var c Config
		if err = json.Unmarshal(text, &c); err == nil {
			err = c.run(os.Stdout)
		}
	default:
		err = fmt.Errorf("no such role: %s", role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// command is this executable in a role. It ends with the thread that starts it.
func command(ctx context.Context, role string, p any) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), roleEnv+"="+role, planEnv+"="+string(text))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, nil
}

// runLife runs a life; hears has each message of it, and ends it with an error.
func runLife(p plan, hears func(*message) error) error {
	runtime.LockOSThread() // what starts the process outlives it
	defer runtime.UnlockOSThread()
	ctx, cancel := context.WithTimeout(context.Background(), lifeTimeout)
	defer cancel()
	cmd, err := command(ctx, "life", p)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) } // says what it was doing
	cmd.WaitDelay = 10 * time.Second
	answers, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	in, out, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close()
	cmd.ExtraFiles = []*os.File{out}
	err = cmd.Start()
	out.Close()
	if err != nil {
		return err
	}
	heard := listen(in, answers, hears)
	if heard != nil {
		_ = cmd.Process.Kill()
	}
	answers.Close()
	if err := cmd.Wait(); heard == nil && (err != nil || text.Len() > 0) {
		return fmt.Errorf("life: %w: %s", err, text.String())
	}
	return heard
}

// listen answers every message.
func listen(in io.Reader, answers io.Writer, hears func(*message) error) error {
	messages := json.NewDecoder(in)
	for {
		var m message
		switch err := messages.Decode(&m); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("hear a life: %w", err)
		}
		if err := hears(&m); err != nil {
			return err
		}
		if _, err := answers.Write([]byte{'\n'}); err != nil {
			return fmt.Errorf("answer a life: %w", err)
		}
	}
}
