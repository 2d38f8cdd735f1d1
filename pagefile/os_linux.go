package pagefile

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const ofdSetLock = unix.F_OFD_SETLK

// directFlag makes reads bypass the page cache.
const directFlag = unix.O_DIRECT

// reserveChunk bounds one fallocate. tmpfs undoes the whole call when a signal
// arrives, and the Go runtime sends signals: a call for gigabytes might never end.
const (
	reserveChunk    = 64 << 20
	reserveChunkMin = 1 << 20
)

// networkMagic is what statfs says of the network file systems of the kernel.
var networkMagic = map[uint32]string{
	unix.NFS_SUPER_MAGIC:  "nfs",
	unix.SMB_SUPER_MAGIC:  "smb",
	unix.SMB2_SUPER_MAGIC: "smb",
	unix.CIFS_SUPER_MAGIC: "smb",
	unix.V9FS_MAGIC:       "9p",
	unix.CEPH_SUPER_MAGIC: "ceph",
	unix.AFS_SUPER_MAGIC:  "afs",
	unix.AFS_FS_MAGIC:     "afs",
	unix.CODA_SUPER_MAGIC: "coda",
	unix.NCP_SUPER_MAGIC:  "ncp",
	0x0BD00BD0:            "lustre",
}

// networkFuse are the types of fuse mounts that reach over a network, or out of
// a virtual machine. Fuse has one magic number for them and for local disks.
var networkFuse = map[string]string{
	"fuse.sshfs": "sshfs", "fuse.glusterfs": "glusterfs", "fuse.rclone": "rclone",
	"fuse.s3fs": "s3fs", "fuse.goofys": "s3fs", "fuse.gcsfuse": "gcsfuse",
	"fuse.juicefs": "juicefs", "fuse.ceph-fuse": "ceph", "fuse.davfs": "webdav",
	"fuse.curlftpfs": "ftp", "fuse.vmhgfs-fuse": "vmhgfs", "fuse.grpcfuse": "grpcfuse",
	"fuse.blobfuse": "blobfuse", "fuse.blobfuse2": "blobfuse", "virtiofs": "virtiofs",
}

// reserve makes the file system give blocks to the range.
func reserve(f *os.File, off, n int64) error {
	chunk := int64(reserveChunk)
	for n > 0 {
		part := min(n, chunk)
		// Not through control: an interrupted call starts over with less.
		conn, err := f.SyscallConn()
		if err != nil {
			return err
		}
		var callErr error
		err = conn.Control(func(fd uintptr) { callErr = unix.Fallocate(int(fd), 0, off, part) })
		switch {
		case err != nil:
			return err
		case callErr == unix.EINTR:
			chunk = max(chunk/2, reserveChunkMin)
			continue
		case callErr != nil: // EOPNOTSUPP and ENOSYS are errors.ErrUnsupported
			return callErr
		}
		off, n = off+part, n-part
	}
	return nil
}

// datasync leaves out what a reader does not need, such as the time of change;
// a new size and new blocks are needed and come along.
func datasync(f *os.File) error { return control(f, unix.Fdatasync) }

func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// pidNamespace tells process ids of one machine's containers apart.
func pidNamespace() string {
	name, _ := os.Readlink("/proc/self/ns/pid")
	return name
}

func network(d *folder) (string, bool) {
	st, err := statfs(d)
	if err != nil {
		return "", false
	}
	magic := uint32(st.Type)
	if magic == unix.FUSE_SUPER_MAGIC {
		name, ok := networkFuse[mountType(d)]
		return name, ok
	}
	name, ok := networkMagic[magic]
	return name, ok
}

// mountType finds the type of the mount that a folder lies on, "" if unknown.
func mountType(d *folder) string {
	var st unix.Stat_t
	if err := control(d.self, func(fd int) error { return unix.Fstat(fd, &st) }); err != nil {
		return ""
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	defer f.Close()
	dev := fmt.Sprintf("%d:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)))
	return mountTypeIn(bufio.NewScanner(f), dev)
}

// mountTypeIn reads lines of proc_pid_mountinfo(5): the device is the third
// field, the type the first after a lone dash.
func mountTypeIn(lines *bufio.Scanner, dev string) string {
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 || fields[2] != dev {
			continue
		}
		for i, s := range fields[:len(fields)-1] {
			if s == "-" {
				return fields[i+1]
			}
		}
	}
	return ""
}
