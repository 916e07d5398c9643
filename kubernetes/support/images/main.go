// images makes a container image of static programs, or of all that is in a directory, without a
// registry and without containers:
//
//	images -output pause.tar -name registry.k8s.io/pause:3.10.1 -file PAUSE=/pause -entrypoint /pause
//	images -output nginx.tar -name nginx:latest -rootfs DIR -user 0:0 -entrypoint /usr/sbin/nginx
//
// The archive is an OCI layout, which containerd reads, and has the index that `docker load` and
// `kind load image-archive` look for besides. The same input makes the same bytes.
package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// nobody is the user that images without a user of their own run as (distroless' "nonroot").
const nobody = "65532:65532"

// values is a flag that may be given several times.
type values []string

func (v *values) String() string { return strings.Join(*v, ",") }

// Set adds a value.
func (v *values) Set(value string) error {
	*v = append(*v, value)
	return nil
}

// wish is the command line.
type wish struct {
	output, name, rootfs, entrypoint, user string
	files, arguments                       values
}

func main() {
	w := &wish{}
	flag.StringVar(&w.output, "output", "", "the archive to write")
	flag.StringVar(&w.name, "name", "", "the image's name with its tag")
	flag.StringVar(&w.entrypoint, "entrypoint", "", "the program that a container of it runs")
	flag.StringVar(&w.user, "user", nobody, "whom it runs as, `UID:GID`")
	flag.StringVar(&w.rootfs, "rootfs", "", "a `DIRECTORY` whose content the image has")
	flag.Var(&w.files, "file", "`FROM=TO`, repeatable: a file, and where it is in the image")
	flag.Var(&w.arguments, "argument", "an argument of the program where a container names none, repeatable")
	flag.Parse()
	if err := w.make(); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

func (w *wish) make() error {
	if w.output == "" || w.entrypoint == "" || len(w.files) == 0 && w.rootfs == "" {
		return errors.New("`-output`, `-entrypoint`, and `-rootfs` or at least one `-file` are needed")
	}
	tag, err := name.NewTag(w.name)
	if err != nil {
		return err
	}
	content, err := w.layer()
	if err != nil {
		return err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return err
	}
	image, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), layer)
	if err != nil {
		return err
	}
	image, err = mutate.ConfigFile(image, &v1.ConfigFile{
		Architecture: "amd64",
		OS:           "linux",
		Config:       v1.Config{Entrypoint: []string{w.entrypoint}, Cmd: w.arguments, User: w.user, WorkingDir: "/"},
		RootFS:       v1.RootFS{Type: "layers", DiffIDs: must(image.ConfigFile()).RootFS.DiffIDs},
	})
	if err != nil {
		return err
	}
	return write(w.output, tag, mutate.ConfigMediaType(image, types.OCIConfigJSON))
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err) // of an image in memory
	}
	return value
}

// layer is a tar of the directory's content, of the files and of the directories above them, all of
// the owner root and without times.
func (w *wish) layer() ([]byte, error) {
	var buffer bytes.Buffer
	archive := tar.NewWriter(&buffer)
	made := map[string]bool{"/": true}
	if w.rootfs != "" {
		if err := addTree(archive, w.rootfs, made); err != nil {
			return nil, err
		}
	}
	for _, file := range w.files {
		from, to, found := strings.Cut(file, "=")
		if !found || !path.IsAbs(to) {
			return nil, fmt.Errorf("`-file %s` is not of the form FROM=/TO", file)
		}
		if err := checkStatic(from); err != nil {
			return nil, err
		}
		content, err := os.ReadFile(from)
		if err != nil {
			return nil, err
		}
		for _, dir := range above(to) {
			if !made[dir] {
				made[dir] = true
				if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir[1:] + "/", Mode: 0o755}); err != nil {
					return nil, err
				}
			}
		}
		header := &tar.Header{Typeflag: tar.TypeReg, Name: to[1:], Mode: 0o755, Size: int64(len(content))}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := archive.Write(content); err != nil {
			return nil, err
		}
	}
	// Before its bytes are taken: it writes the end.
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return buffer.Bytes(), nil
}

// addTree adds what is below a directory, in the order of names, and notes which directories there are.
func addTree(archive *tar.Writer, root string, made map[string]bool) error {
	return filepath.WalkDir(root, func(from string, entry fs.DirEntry, err error) error {
		if err != nil || from == root {
			return err
		}
		relative, err := filepath.Rel(root, from)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		target := ""
		if entry.Type()&fs.ModeSymlink != 0 {
			if target, err = os.Readlink(from); err != nil {
				return err
			}
		}
		header, err := tar.FileInfoHeader(info, target)
		if err != nil {
			return err
		}
		*header = tar.Header{Typeflag: header.Typeflag, Name: relative, Linkname: target, Mode: header.Mode, Size: header.Size}
		switch header.Typeflag {
		case tar.TypeDir:
			header.Name += "/"
			made["/"+relative] = true
		case tar.TypeReg, tar.TypeSymlink:
		default:
			return fmt.Errorf("`%s` is no file, directory or link", from)
		}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if header.Typeflag != tar.TypeReg {
			return nil
		}
		content, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		_, err = archive.Write(content)
		return err
	})
}

// above are the directories above a path, the topmost first.
func above(to string) []string {
	var dirs []string
	for dir := path.Dir(to); dir != "/"; dir = path.Dir(dir) {
		dirs = append(dirs, dir)
	}
	slices.Reverse(dirs)
	return dirs
}

// checkStatic refuses a program that needs a dynamic linker, which the image has not.
func checkStatic(file string) error {
	program, err := elf.Open(file)
	if err != nil {
		var format *elf.FormatError
		if errors.As(err, &format) || errors.Is(err, io.EOF) {
			return nil // no program
		}
		return err
	}
	defer program.Close()
	for _, part := range program.Progs {
		if part.Type == elf.PT_INTERP {
			return fmt.Errorf("`%s` is linked dynamically and would not start in an image of its own: take a static one", file)
		}
	}
	return nil
}

// write replaces the archive as a whole.
func write(output string, tag name.Tag, image v1.Image) error {
	dir, err := os.MkdirTemp(filepath.Dir(output), ".image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	root := filepath.Join(dir, "layout")
	index, err := layout.Write(root, empty.Index)
	if err != nil {
		return err
	}
	names := map[string]string{
		"io.containerd.image.name":          fullName(tag),
		"org.opencontainers.image.ref.name": tag.TagStr(),
	}
	if err := index.AppendImage(image, layout.WithAnnotations(names)); err != nil {
		return err
	}
	if err := writeDockerIndex(root, tag, image); err != nil {
		return err
	}
	next := filepath.Join(dir, "archive")
	if err := pack(root, next); err != nil {
		return err
	}
	return os.Rename(next, output)
}

// fullName is the name as containerd and docker write it, who know docker's registry by another name.
func fullName(tag name.Tag) string {
	return strings.Replace(tag.Name(), name.DefaultRegistry+"/", "docker.io/", 1)
}

// writeDockerIndex adds the list of images that was docker's before there was a standard.
func writeDockerIndex(root string, tag name.Tag, image v1.Image) error {
	blob := func(hash v1.Hash) string { return path.Join("blobs", hash.Algorithm, hash.Hex) }
	manifest, err := image.Manifest()
	if err != nil {
		return err
	}
	listed := tarball.Descriptor{Config: blob(manifest.Config.Digest), RepoTags: []string{fullName(tag)}}
	for _, layer := range manifest.Layers {
		listed.Layers = append(listed.Layers, blob(layer.Digest))
	}
	text, err := json.Marshal(tarball.Manifest{listed})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, "manifest.json"), text, 0o644)
}

// pack makes a tar of a directory, in the order of names.
func pack(root, output string) error {
	file, err := os.Create(output)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(file)
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		header := &tar.Header{Typeflag: tar.TypeReg, Name: relative, Mode: 0o644, Size: int64(len(content)), ModTime: time.Unix(0, 0)}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err = archive.Write(content)
		return err
	})
	return errors.Join(err, archive.Close(), file.Close())
}
