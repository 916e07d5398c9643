package main

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// The archive is read as Docker before 25 and kind read it, and as containerd and newer Dockers do: it is one image.
func TestBothKindsOfReadersFindOneImage(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	check(t, os.WriteFile(program, []byte("no ELF"), 0o755))
	archive := filepath.Join(dir, "image.tar")
	wish := &wish{
		output: archive, name: "ghcr.io/example/korder:1.2.3", entrypoint: "/bin/program", user: nobody,
		files: values{program + "=/bin/program"},
	}
	check(t, wish.make())

	tag, err := name.NewTag("ghcr.io/example/korder:1.2.3")
	check(t, err)
	docker, err := tarball.ImageFromPath(archive, &tag)
	check(t, err)
	unpack(t, archive, filepath.Join(dir, "layout"))
	index, err := layout.ImageIndexFromPath(filepath.Join(dir, "layout"))
	check(t, err)
	manifest, err := index.IndexManifest()
	check(t, err)
	if len(manifest.Manifests) != 1 {
		t.Fatalf("there are %d images", len(manifest.Manifests))
	}
	if got := manifest.Manifests[0].Annotations["io.containerd.image.name"]; got != tag.Name() {
		t.Errorf("containerd will call it `%s`", got)
	}
	oci, err := index.Image(manifest.Manifests[0].Digest)
	check(t, err)

	for kind, image := range map[string]v1.Image{"docker": docker, "oci": oci} {
		config, err := image.ConfigFile()
		check(t, err)
		if config.Config.User != "65532:65532" || config.Config.Entrypoint[0] != "/bin/program" || config.OS != "linux" {
			t.Errorf("%s: %+v", kind, config.Config)
		}
		layers, err := image.Layers()
		check(t, err)
		if len(layers) != 1 || len(config.RootFS.DiffIDs) != 1 {
			t.Fatalf("%s: %d layers, %d said", kind, len(layers), len(config.RootFS.DiffIDs))
		}
		diff, err := layers[0].DiffID()
		check(t, err)
		if diff != config.RootFS.DiffIDs[0] {
			t.Errorf("%s: the layer is not the one that the image says", kind)
		}
		reader, err := layers[0].Uncompressed()
		check(t, err)
		content, err := io.ReadAll(reader)
		check(t, err)
		// Go reads a tar without its end, and others do not.
		if !bytes.HasSuffix(content, make([]byte, 1024)) {
			t.Errorf("%s: the layer has no end", kind)
		}
		entries := tar.NewReader(bytes.NewReader(content))
		for _, want := range []string{"bin/", "bin/program"} {
			header, err := entries.Next()
			check(t, err)
			if header.Name != want || header.Mode != 0o755 || header.Uid != 0 {
				t.Errorf("%s: %+v", kind, header)
			}
		}
		if _, err := entries.Next(); err != io.EOF {
			t.Errorf("%s: there is more in it", kind)
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func unpack(t *testing.T, archive, dir string) {
	file, err := os.Open(archive)
	check(t, err)
	defer file.Close()
	for entries := tar.NewReader(file); ; {
		header, err := entries.Next()
		if err == io.EOF {
			return
		}
		check(t, err)
		path := filepath.Join(dir, header.Name)
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		content, err := io.ReadAll(entries)
		check(t, err)
		check(t, os.WriteFile(path, content, 0o644))
	}
}
