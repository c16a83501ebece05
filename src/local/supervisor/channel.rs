//! Lines and open files over a unix socket.
//!
//! One message is one line of JSON, at most [`MAX_LINE`] long. Open files travel beside the bytes (`SCM_RIGHTS`), so many
//! with one byte as the kernel allows; they arrive in the order sent, and a message that brings files says how many.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Longest message, in bytes. A proxy configuration is the largest thing ever sent.
pub const MAX_LINE: usize = 4 << 20;

/// Most open files that travel with one byte (the kernel's own limit is 253, `SCM_MAX_FD`).
pub const MAX_FILES: usize = 64;

/// Most open files that a message may bring.
pub const MOST_FILES: usize = 2_048;

/// Most open files kept for messages not read yet; a peer that sends more is cut off.
const MAX_PENDING_FILES: usize = 2 * MOST_FILES;

/// Why a connection can't go on.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The other side broke the protocol.
    #[error("the other side sent a line longer than {MAX_LINE} bytes")]
    TooLong,
    /// More open files than any message brings.
    #[error("the other side sent more open files than a message may bring")]
    TooManyFiles,
    /// A message announced files that did not come.
    #[error("a message announced {announced} open files, {came} came")]
    MissingFiles {
        /// How many the message named.
        announced: usize,
        /// How many were there.
        came: usize,
    },
    /// The socket failed.
    #[error("the connection broke")]
    Io(#[from] io::Error),
}

/// Splits a connection into the half that reads and the half that writes.
#[must_use]
pub fn split(stream: UnixStream) -> (Reader, Writer) {
    let stream = Arc::new(stream);
    (
        Reader { stream: stream.clone(), buffer: Vec::new(), scanned: 0, files: VecDeque::new() },
        Writer { stream },
    )
}

/// The reading half. Cancel safe: what has arrived stays here.
#[derive(Debug)]
pub struct Reader {
    stream: Arc<UnixStream>,
    buffer: Vec<u8>,
    scanned: usize,
    files: VecDeque<OwnedFd>,
}

impl Reader {
    /// The next line without its end, or `None` when the other side has closed.
    ///
    /// # Errors
    /// [`ChannelError`]; the connection is of no further use then.
    pub async fn line(&mut self) -> Result<Option<Vec<u8>>, ChannelError> {
        loop {
            if let Some(end) = self.buffer[self.scanned..].iter().position(|b| *b == b'\n') {
                let rest = self.buffer.split_off(self.scanned + end + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.pop();
                self.scanned = 0;
                return Ok(Some(line));
            }
            self.scanned = self.buffer.len();
            if self.scanned > MAX_LINE {
                return Err(ChannelError::TooLong);
            }
            if self.fill().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The next `count` files that came with the lines read so far.
    ///
    /// # Errors
    /// [`ChannelError::MissingFiles`] if fewer came.
    pub fn files(&mut self, count: usize) -> Result<Vec<OwnedFd>, ChannelError> {
        if self.files.len() < count {
            return Err(ChannelError::MissingFiles { announced: count, came: self.files.len() });
        }
        Ok(self.files.drain(..count).collect())
    }

    async fn fill(&mut self) -> Result<usize, ChannelError> {
        let stream = self.stream.clone();
        let mut chunk = [0; 16 << 10];
        let (read, files) =
            stream.async_io(Interest::READABLE, || receive(stream.as_fd(), &mut chunk)).await?;
        self.buffer.extend_from_slice(&chunk[..read]);
        self.files.extend(files);
        if self.files.len() > MAX_PENDING_FILES {
            return Err(ChannelError::TooManyFiles);
        }
        Ok(read)
    }
}

/// The writing half.
#[derive(Debug)]
pub struct Writer {
    stream: Arc<UnixStream>,
}

impl Writer {
    /// Sends one line, and `files` with its first bytes. Not cancel safe: a line cut short ends the connection's use.
    ///
    /// # Errors
    /// When the other side is gone.
    pub async fn send(&mut self, line: &[u8], files: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        let mut message = Vec::with_capacity(line.len() + 1);
        message.extend_from_slice(line);
        message.push(b'\n');
        let mut rest = message.as_slice();
        let mut files = files.chunks(MAX_FILES).peekable();
        while !rest.is_empty() {
            let some = files.next().unwrap_or_default();
            let bytes = if files.peek().is_some() { &rest[..1] } else { rest };
            let sent =
                self.stream.async_io(Interest::WRITABLE, || send(self.stream.as_fd(), bytes, some)).await?;
            rest = &rest[sent..];
        }
        match files.next() {
            None => Ok(()),
            Some(_) => Err(ChannelError::TooManyFiles),
        }
    }
}

/// One `recvmsg`: bytes and the open files that came with them, which a later `exec` does not inherit.
///
/// # Errors
/// What the kernel said; `WouldBlock` on a non-blocking socket.
pub fn receive(socket: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(socket, &mut [IoSliceMut::new(into)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut files = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(sent) = message {
            files.extend(sent);
        }
    }
    Ok((got.bytes, files))
}

/// One `sendmsg`; how many bytes the kernel took.
///
/// # Errors
/// What the kernel said; `WouldBlock` on a non-blocking socket.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FILES))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "more open files than one message can bring",
        ));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

/// Connects to the unix socket at `path`, however long the path is.
///
/// # Errors
/// What the kernel said, most often that nobody listens.
pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    with_short_path(path, |short| async move { UnixStream::connect(short).await }).await
}

/// Binds a unix socket at `path`, replacing a dead one; only this user may connect.
///
/// # Errors
/// What the kernel said.
pub async fn bind(path: &Path) -> io::Result<tokio::net::UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener =
        with_short_path(path, |short| async move { tokio::net::UnixListener::bind(short) }).await?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(listener)
}

/// The kernel takes socket paths up to 107 bytes; a longer one is reached through its opened directory.
async fn with_short_path<T, F: Future<Output = io::Result<T>>>(
    path: &Path,
    act: impl FnOnce(std::path::PathBuf) -> F,
) -> io::Result<T> {
    use std::os::fd::AsRawFd;
    use std::os::unix::ffi::OsStrExt;
    if path.as_os_str().as_bytes().len() < 107 {
        return act(path.to_owned()).await;
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the path of a file"));
    };
    let directory = std::fs::File::open(directory)?;
    act(Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name)).await
}

/// Refuses a peer that is neither this user nor root; answers its process id.
///
/// # Errors
/// `PermissionDenied` naming the peer's user id.
pub fn admit(stream: &UnixStream) -> io::Result<u32> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?;
    let own = rustix::process::geteuid();
    if peer.uid != own && !peer.uid.is_root() {
        let text =
            format!("user {} may not command a supervisor of user {}", peer.uid.as_raw(), own.as_raw());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(peer.pid.as_raw_nonzero().get().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn more_files_than_the_kernel_takes_at_once_arrive_in_order_with_their_message() {
        let (one, other) = UnixStream::pair().unwrap();
        let ((_, mut writer), (mut reader, _)) = (split(one), split(other));
        let names: Vec<String> = (0..(3 * MAX_FILES + 5)).map(|it| format!("file {it}")).collect();
        let directory = tempfile::tempdir().unwrap();
        let files: Vec<std::fs::File> = names
            .iter()
            .map(|it| {
                std::fs::write(directory.path().join(it), it).unwrap();
                std::fs::File::open(directory.path().join(it)).unwrap()
            })
            .collect();
        let line = names.join(",");
        let borrowed: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
        let sending = async {
            writer.send(line.as_bytes(), &borrowed).await.unwrap();
            writer.send(b"the next one", &borrowed[..1]).await.unwrap();
        };
        let ((), got) = tokio::join!(sending, async { reader.line().await.unwrap().unwrap() });
        assert_eq!(got, line.as_bytes());
        let came: Vec<String> = reader
            .files(names.len())
            .unwrap()
            .into_iter()
            .map(|it| std::io::read_to_string(std::fs::File::from(it)).unwrap())
            .collect();
        assert_eq!(came, names);
        assert_eq!(reader.line().await.unwrap().unwrap(), b"the next one");
        assert_eq!(reader.files(1).unwrap().len(), 1);
    }
}
