package power

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const inoBase = 1000 // of the first disk; 1 is the folder

// A server is a FUSE file system of disks, each a file with a number for a name. The
// kernel caches nothing of them: reads and writes come when they are asked.
type server struct {
	fuse.RawFileSystem
	dir   string
	mount *fuse.Server

	mu    sync.Mutex
	disks map[uint64]*disk // by inode; a number is not used again
	next  uint64
}

// serve mounts a file system without disks.
func serve(dir string) (*server, error) {
	s := &server{RawFileSystem: fuse.NewDefaultRawFileSystem(), dir: dir, disks: make(map[uint64]*disk), next: inoBase}
	var err error
	s.mount, err = fuse.NewServer(s, dir, &fuse.MountOptions{Name: "ember-power", DirectMountStrict: true, MaxWrite: 256 << 10, MaxBackground: 64})
	if err != nil {
		return nil, fmt.Errorf("mount a FUSE file system: %w", err)
	}
	if err := keepConnection(); err != nil {
		return nil, err
	}
	go s.mount.Serve()
	if err := s.mount.WaitMount(); err != nil {
		return nil, fmt.Errorf("mount a FUSE file system: %w", err)
	}
	return s, nil
}

// keepConnection has no child inherit the connection to the kernel: one that did would
// keep it open when this process is killed, and wait for its answers for ever.
func keepConnection() error {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range list {
		if name, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && name == "/dev/fuse" {
			fd, err := strconv.Atoi(e.Name())
			if err != nil {
				return err
			}
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

func (s *server) stop() error { return s.mount.Unmount() }

// add has a disk served, and returns its path and how to end that.
func (s *server) add(d *disk) (path string, remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ino := s.next
	s.next++
	s.disks[ino] = d
	return fmt.Sprintf("%s/%d", s.dir, ino), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.disks, ino)
	}
}

func (s *server) disk(ino uint64) *disk {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.disks[ino]
}

func (s *server) attr(ino uint64, out *fuse.Attr) fuse.Status {
	out.Ino, out.Nlink, out.Blksize = ino, 1, pageSize
	if ino == fuse.FUSE_ROOT_ID {
		out.Mode = fuse.S_IFDIR | 0o700
		return fuse.OK
	}
	d := s.disk(ino)
	if d == nil {
		return fuse.ENOENT
	}
	out.Mode, out.Size, out.Blocks = fuse.S_IFREG|0o600, uint64(d.base.size()), uint64(d.base.size()/sectorSize)
	return fuse.OK
}

func (s *server) Lookup(_ <-chan struct{}, _ *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	ino, err := strconv.ParseUint(name, 10, 64)
	if err != nil || ino < inoBase {
		return fuse.ENOENT
	}
	out.NodeId = ino
	out.SetEntryTimeout(time.Second)
	return s.attr(ino, &out.Attr)
}

func (s *server) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	return s.attr(in.NodeId, &out.Attr)
}

func (s *server) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	out.OpenFlags = fuse.FOPEN_DIRECT_IO
	return fuse.OK
}

func (s *server) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	d := s.disk(in.NodeId)
	if d == nil {
		return nil, fuse.EIO
	}
	return fuse.ReadResultData(buf[:d.read(buf, int64(in.Offset))]), fuse.OK
}

func (s *server) Writev(_ <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	var own []byte // what data is in belongs to the library
	for _, p := range data {
		own = append(own, p...)
	}
	d := s.disk(in.NodeId)
	if d == nil || !d.write(own, int64(in.Offset)) {
		return 0, fuse.EIO
	}
	return uint32(len(own)), fuse.OK
}

func (s *server) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	d := s.disk(in.NodeId)
	if d == nil {
		return fuse.EIO
	}
	d.flush()
	return fuse.OK
}

// Flush is what close asks, and nothing to a disk.
func (s *server) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.OK }
