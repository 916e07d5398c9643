// registry serves the image archives (`*.tar`) of directories to a node's container runtime, each under
// the names that are written in it, whatever registry these are of:
//
//	registry -listen 127.0.0.1:5000 -blobs registry images pulled
//
// An archive is one of `docker save`, or an OCI layout with docker's list of images in it (as
// ../images makes them). A line on standard output says that all are served. It runs as long as its
// standard input is open.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:5000", "address to listen on")
	blobs := flag.String("blobs", "", "directory for what is in the archives")
	flag.Parse()
	if err := run(*listen, *blobs, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "registry:", err)
		os.Exit(1)
	}
}

func run(listen, blobs string, directories []string) error {
	if err := os.MkdirAll(blobs, 0o700); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	handler := registry.New(registry.WithBlobHandler(registry.NewDiskBlobHandler(blobs)), registry.Logger(log.New(io.Discard, "", 0)))
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	for _, directory := range directories {
		archives, err := filepath.Glob(filepath.Join(directory, "*.tar"))
		if err != nil {
			return err
		}
		for _, archive := range archives {
			if err := push(archive, listener.Addr().String()); err != nil {
				return fmt.Errorf("serve the images of `%s`: %w", archive, err)
			}
		}
	}
	fmt.Println("all images are served")
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		ended <- nil
	}()
	return <-ended
}

// push makes the registry serve each image of an archive under each of its names.
func push(path, address string) error {
	opener := func() (io.ReadCloser, error) { return os.Open(path) }
	listed, err := tarball.LoadManifest(opener)
	if err != nil {
		return err
	}
	named := 0
	for _, image := range listed {
		for _, text := range image.RepoTags {
			tag, err := name.NewTag(text)
			if err != nil {
				return err
			}
			content, err := tarball.Image(opener, &tag)
			if err != nil {
				return err
			}
			here, err := name.NewTag(fmt.Sprintf("%s/%s:%s", address, tag.RepositoryStr(), tag.TagStr()), name.Insecure)
			if err != nil {
				return err
			}
			if err := remote.Write(here, content); err != nil {
				return err
			}
			named++
		}
	}
	if named == 0 {
		return errors.New("there is no image with a name in it")
	}
	return nil
}
