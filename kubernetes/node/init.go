package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// initRole and nodeRole are the first arguments that make this binary the first process of the
// namespaces, and the one that starts everything else in them.
const (
	initRole = "init"
	nodeRole = "node"
)

// runInit starts the node and then does what a first process must: it collects the orphans that
// containers leave. When it ends, the kernel kills all that is left in the namespaces.
func runInit(args []string) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	node, err := os.StartProcess("/proc/self/exe", append([]string{os.Args[0], nodeRole}, args...), &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr, os.NewFile(3, "address")},
	})
	if err != nil {
		return fmt.Errorf("start the node: %w", err)
	}
	go func() {
		for received := range signals {
			_ = node.Signal(received)
		}
	}()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return fmt.Errorf("wait for processes: %w", err)
		case pid == node.Pid && (status.Exited() || status.Signaled()):
			if status.Exited() && status.ExitStatus() == 0 {
				return nil
			}
			// The node has said why.
			os.Exit(max(status.ExitStatus(), 1))
		}
	}
}
