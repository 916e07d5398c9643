package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/pflag"
	"gopkg.in/natefinch/lumberjack.v2"
	"k8s.io/client-go/rest"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/klog/v2"
)

// errStopRequested is the cause of a context that ended because a stop was asked for.
var errStopRequested = errors.New("stop requested")

// untilStopped returns a context that ends on SIGTERM, on SIGINT, or when standard input is closed,
// as the kernel does for a pipe whose other end has died in whatever way. A second signal ends the
// process at once.
func untilStopped() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		cancel(errStopRequested)
		<-signals
		os.Exit(1)
	}()
	go func() {
		// Nobody writes to it; the copy ends with the pipe.
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel(errStopRequested)
	}()
	return ctx
}

// logTo sends what this process logs to a file that is rotated before it grows out of bounds.
func logTo(path string) {
	flags := flag.NewFlagSet("klog", flag.PanicOnError)
	klog.InitFlags(flags)
	for name, value := range map[string]string{"logtostderr": "false", "alsologtostderr": "false", "stderrthreshold": "FATAL", "one_output": "true"} {
		if err := flags.Set(name, value); err != nil {
			panic(err) // a flag of klog's own
		}
	}
	klog.SetOutput(&lumberjack.Logger{Filename: path, MaxSize: 16, MaxBackups: 1})
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
}

// parseOptions sets a component's options as its command line would.
func parseOptions(sets cliflag.NamedFlagSets, args ...string) error {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	for _, set := range sets.FlagSets {
		flags.AddFlagSet(set)
	}
	return flags.Parse(args)
}

// loopback is where nobody but this machine's processes can connect.
const loopback = "127.0.0.1"

// listen opens a port of an address: the given one, or for 0 the one that portFile remembers, or else
// any. The port is remembered in portFile.
func listen(portFile, address string, port int) (net.Listener, error) {
	if port == 0 {
		if text, err := os.ReadFile(portFile); err == nil {
			if last, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
				if listener, err := listenOn(address, last); err == nil {
					return listener, nil
				}
			}
		}
	}
	listener, err := listenOn(address, port)
	if err != nil {
		return nil, err
	}
	return listener, os.WriteFile(portFile, fmt.Appendln(nil, portOf(listener)), 0o600)
}

func listenOn(address string, port int) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
}

func portOf(listener net.Listener) int {
	return listener.Addr().(*net.TCPAddr).Port
}
