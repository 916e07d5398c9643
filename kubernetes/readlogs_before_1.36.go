//go:build before_1_36

package main

import (
	"context"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	crilogs "k8s.io/cri-client/pkg/logs"
	"k8s.io/klog/v2"
)

// readLogs is the same by an older library.
func readLogs(ctx context.Context, file string, asked *corev1.PodLogOptions, out io.Writer) error {
	logger := klog.FromContext(ctx)
	return crilogs.ReadLogs(ctx, &logger, file, "", crilogs.NewLogOptions(asked, time.Now()), alwaysRunning{}, out, out)
}
