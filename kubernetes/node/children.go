package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"gopkg.in/natefinch/lumberjack.v2"
)

// quotedBytes of a log's end go into the error about a program that ended.
const quotedBytes = 2000

// endedError says that a process ended, which it should not have.
type endedError struct {
	name string
	code int
	log  string
}

func (e *endedError) Error() string {
	if e.log == "" {
		return e.name
	}
	return e.name + "; the end of its log:\n" + e.log
}

// ended makes an error of how a process ended, nil where that was in order.
func ended(name string, err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return &endedError{name: fmt.Sprintf("%s ended: %v", name, exit), code: exit.ExitCode()}
	}
	return err
}

// ignoreExit is for a process that was killed.
func ignoreExit(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// children are the programs of the node.
type children struct {
	settings *settings
	fail     context.CancelCauseFunc
}

// child is one of them.
type child struct {
	process *os.Process
	stdin   io.Closer
	stdout  io.Reader
	done    chan struct{}
}

// start runs a program whose standard error, and output unless asked for, go to a log file of its
// name. If it ends by itself, the whole node fails.
func (c *children) start(name string, wantStdout bool, program string, args ...string) (*child, error) {
	path := c.settings.path("logs", name+".log")
	log := &lumberjack.Logger{Filename: path, MaxSize: 16, MaxBackups: 1}
	command := exec.Command(program, args...)
	command.Stderr = log
	if strings.HasPrefix(program, "/proc/self") {
		command.Args[0] = os.Args[0]
	}
	stdin, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	started := &child{stdin: stdin, done: make(chan struct{})}
	if wantStdout {
		reader, writer, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		defer writer.Close()
		command.Stdout, started.stdout = writer, reader
	} else {
		command.Stdout = log
	}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	started.process = command.Process
	go func() {
		err := command.Wait()
		close(started.done)
		code := command.ProcessState.ExitCode()
		c.fail(&endedError{name: fmt.Sprintf("%s ended (%v)", name, errors.Join(err, errors.New(command.ProcessState.String()))), code: code, log: tail(path)})
	}()
	return started, nil
}

// stop asks a child to end, by its standard input and by a signal, and waits for it a while.
func (c *child) stop(timeout time.Duration) {
	_ = c.stdin.Close()
	_ = c.process.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
	case <-time.After(timeout):
	}
}

// tail is the end of a file, as far as it can be read.
func tail(path string) string {
	text, _ := os.ReadFile(path)
	return strings.TrimSpace(string(text[max(0, len(text)-quotedBytes):]))
}
