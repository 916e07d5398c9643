//go:build !before_1_36

package main

import (
	"context"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	crilogs "k8s.io/cri-client/pkg/logs"
)

// readLogs writes what is asked of a log, and what comes to it for as long as that is asked.
func readLogs(ctx context.Context, file string, asked *corev1.PodLogOptions, out io.Writer) error {
	options := &crilogs.LogOptions{TailLines: asked.TailLines, LimitBytes: asked.LimitBytes, Follow: asked.Follow, Timestamp: asked.Timestamps}
	if asked.SinceSeconds != nil {
		options.Since = time.Now().Add(-time.Duration(*asked.SinceSeconds) * time.Second)
	}
	if asked.SinceTime != nil {
		options.Since = asked.SinceTime.Time
	}
	return crilogs.ReadLogs(ctx, file, "", options, alwaysRunning{}, out, out)
}
