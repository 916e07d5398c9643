package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"k8s.io/apiserver/pkg/util/compatibility"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/cmd/kube-scheduler/app"
	"k8s.io/kubernetes/cmd/kube-scheduler/app/options"
)

// schedulerCommand is the first argument that makes this binary a kube-scheduler.
const schedulerCommand = "scheduler"

// How soon a scheduler that ended is started again: at once, then ever later, unless it ran well
// for some time.
const (
	restartDelayMin = 100 * time.Millisecond
	restartDelayMax = 5 * time.Second
	restartForgiven = 10 * time.Second
)

// schedulerStopTimeout is what a scheduler gets for giving its lease back.
const schedulerStopTimeout = 2 * time.Second

// runScheduler is the child process: kube-scheduler with the data directory as its only argument.
// Its lease is short, so that others notice a restart, and its successor waits, two seconds only.
func runScheduler(args []string) error {
	if len(args) != 1 {
		return errors.New("the scheduler takes one argument, the data directory")
	}
	dataDir := args[0]
	logTo(filepath.Join(dataDir, "logs", "scheduler.log"))
	o := options.NewOptions()
	if err := parseOptions(*o.Flags,
		"--kubeconfig="+filepath.Join(dataDir, "pki", "scheduler.kubeconfig"),
		"--secure-port=0",
		"--leader-elect=true",
		"--leader-elect-lease-duration=2s",
		"--leader-elect-renew-deadline=1500ms",
		"--leader-elect-retry-period=250ms",
		"--kube-api-qps=1000",
		"--kube-api-burst=2000",
	); err != nil {
		return err
	}
	if err := compatibility.DefaultComponentGlobalsRegistry.Set(); err != nil {
		return err
	}
	ctx := untilStopped()
	context.AfterFunc(ctx, func() {
		// Normally it has given its lease back and ended by then; without an API server it can't.
		time.AfterFunc(schedulerStopTimeout, func() { os.Exit(0) })
	})
	config, scheduler, err := app.Setup(ctx, o)
	if err != nil {
		return err
	}
	return app.Run(ctx, config, scheduler)
}

// superviseScheduler keeps a scheduler running until ctx ends, then lets it give its lease back.
func (s *settings) superviseScheduler(ctx context.Context) error {
	for delay := restartDelayMin; ctx.Err() == nil; {
		started := time.Now()
		err := s.runSchedulerOnce(ctx)
		if ctx.Err() != nil {
			break
		}
		if time.Since(started) > restartForgiven {
			delay = restartDelayMin
		}
		klog.ErrorS(err, "The scheduler ended and is started again", "after", delay)
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
		delay = min(2*delay, restartDelayMax)
	}
	return nil
}

// runSchedulerOnce runs one scheduler process to its end. Its standard input is a pipe from here:
// however this process dies, the scheduler notices.
func (s *settings) runSchedulerOnce(ctx context.Context) error {
	// This very binary, even where its file has been replaced or removed since.
	child := exec.Command("/proc/self/exe", schedulerCommand, s.dataDir)
	child.Args[0] = os.Args[0]
	child.Stderr = os.Stderr
	pipe, err := child.StdinPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = pipe.Close() })()
	pidFile := s.path("scheduler.pid")
	if err := writeFile(pidFile, fmt.Appendln(nil, child.Process.Pid)); err != nil {
		return errors.Join(err, child.Process.Kill(), child.Wait())
	}
	return errors.Join(child.Wait(), os.Remove(pidFile))
}
