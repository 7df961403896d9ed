//! Unreadable pages of mappings: the disk lost a sector, or someone truncated a file.
//!
//! The system then sends SIGBUS to the thread that touches the page, which by default kills the
//! process, with all collections. Here the page is replaced by zeros and the mapping is marked: its
//! user checks the mark afterwards ([`Watch::is_lost`]) and turns it into an error for that file. A
//! signal for an address outside our mappings is passed to the previous handler.
//!
//! The handler only reads atomics of a list whose nodes are never freed, and calls `mmap` and
//! `sigaction`, so that it may interrupt anything.

use std::ffi::c_int;
use std::ptr::{self, null_mut};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// Watches an address range until it is dropped.
#[derive(Debug)]
pub struct Watch(&'static Node);

/// A list node; a length of 0 marks it as free. Nodes are reused and never freed.
#[derive(Debug)]
struct Node {
    start: AtomicUsize,
    len: AtomicUsize,
    taken: AtomicBool,
    lost: AtomicBool,
    next: AtomicPtr<Node>,
}

static NODES: AtomicPtr<Node> = AtomicPtr::new(null_mut());
static PAGE_BYTES: AtomicUsize = AtomicUsize::new(4096);
/// The previous handler of the signal.
static PREVIOUS: OnceLock<Previous> = OnceLock::new();

struct Previous(Option<libc::sigaction>);

// SAFETY: a `sigaction` is plain data, and function addresses are the same in all threads.
unsafe impl Sync for Previous {}
// SAFETY: as above.
unsafe impl Send for Previous {}

impl Watch {
    /// Starts watching a mapping.
    pub fn new(bytes: &[u8]) -> Self {
        install();
        let node = nodes().find(|node| !node.taken.swap(true, Ordering::AcqRel));
        let node = node.unwrap_or_else(append);
        node.lost.store(false, Ordering::Relaxed);
        node.start.store(bytes.as_ptr() as usize, Ordering::Release);
        node.len.store(bytes.len(), Ordering::Release);
        Self(node)
    }

    /// True if a page was lost; its bytes were read as zeros.
    pub fn is_lost(&self) -> bool {
        self.0.lost.load(Ordering::Acquire)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.len.store(0, Ordering::Release);
        self.0.taken.store(false, Ordering::Release);
    }
}

fn nodes() -> impl Iterator<Item = &'static Node> {
    let mut next = NODES.load(Ordering::Acquire);
    std::iter::from_fn(move || {
        // SAFETY: pointers in the list come from `append`, which leaks the nodes, so they are valid
        // forever, and nodes are only changed through atomics.
        let node: &'static Node = unsafe { next.as_ref() }?;
        next = node.next.load(Ordering::Acquire);
        Some(node)
    })
}

fn append() -> &'static Node {
    let node: &'static Node = Box::leak(Box::new(Node {
        start: AtomicUsize::new(0),
        len: AtomicUsize::new(0),
        taken: AtomicBool::new(true),
        lost: AtomicBool::new(false),
        next: AtomicPtr::new(null_mut()),
    }));
    let new = ptr::from_ref(node).cast_mut();
    let mut first = NODES.load(Ordering::Acquire);
    loop {
        node.next.store(first, Ordering::Release);
        match NODES.compare_exchange_weak(first, new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return node,
            Err(changed) => first = changed,
        }
    }
}

/// Installs the handler once per process.
fn install() {
    PREVIOUS.get_or_init(|| {
        PAGE_BYTES.store(rustix::param::page_size(), Ordering::Relaxed);
        // SAFETY: all bytes zero are a valid `sigaction`: the default action, with no flags.
        let (mut action, mut previous) = unsafe { std::mem::zeroed::<(libc::sigaction, _)>() };
        action.sa_sigaction = on_bus_error as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: both pointers are valid for the call, and `on_bus_error` has the signature that
        // `SA_SIGINFO` requires and is async-signal-safe.
        let installed =
            unsafe { libc::sigaction(libc::SIGBUS, &raw const action, &raw mut previous) };
        Previous((installed == 0).then_some(previous))
    });
}

extern "C" fn on_bus_error(
    _signal: c_int,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // SAFETY: the system passes a valid `siginfo_t` with the faulting address.
    let address = unsafe { (*info).si_addr() } as usize;
    let of_node = |node: &&'static Node| {
        let start = node.start.load(Ordering::Acquire);
        address >= start && address - start < node.len.load(Ordering::Acquire)
    };
    if let Some(node) = nodes().find(of_node) {
        let page_bytes = PAGE_BYTES.load(Ordering::Relaxed);
        let page = (address - address % page_bytes) as *mut libc::c_void;
        // SAFETY: the page lies in one of our mappings, which is alive since it was just touched;
        // it is read-only before and after, and nothing is assumed about its bytes, since they
        // could not be read. `mmap` is a plain system call.
        let zeros = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            libc::mmap(page, page_bytes, libc::PROT_READ, flags, -1, 0)
        };
        if zeros != libc::MAP_FAILED {
            node.lost.store(true, Ordering::Release);
            return;
        }
    }
    give_back();
}

/// Restores the previous handler, which gets the signal again when this one returns.
fn give_back() {
    if let Some(Previous(Some(previous))) = PREVIOUS.get() {
        // SAFETY: `previous` was filled by the system, and the third argument may be null.
        unsafe { libc::sigaction(libc::SIGBUS, previous, null_mut()) };
    } else {
        // SAFETY: restores the default action of the signal.
        unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
    }
}
