import CPcap
import DHCPWire
import Glibc
import NetworkTypes
import Synchronization

/// One libpcap handle on one interface.
struct CaptureHandle: ~Copyable {
  private let handle: OpaquePointer

  enum Direction {
    case incoming
    /// What this machine sends as well, but for what this handle does.
    case both
  }

  /// Opens the interface for whole frames in immediate mode, without promiscuous mode, never waiting.
  /// - Parameter filter: What the kernel hands over, in libpcap's language.
  init(
    interface: String, filter: String, bufferBytes: Int32, direction: Direction = .incoming
  ) throws(DHCPServerError) {
    handle = try Self.open(interface, filter, bufferBytes, direction)
  }

  private static func open(
    _ interface: String, _ filter: String, _ bufferBytes: Int32, _ direction: Direction
  ) throws(DHCPServerError) -> OpaquePointer {
    var message = [CChar](repeating: 0, count: Int(PCAP_ERRBUF_SIZE))
    guard let handle = pcap_create(interface, &message) else {
      throw .failed(what: "open a capture", interface: interface, why: text(message))
    }
    do {
      try activate(handle, interface, filter, bufferBytes, direction)
    } catch {
      pcap_close(handle)
      throw error
    }
    return handle
  }

  private static func activate(
    _ handle: OpaquePointer, _ interface: String, _ filter: String, _ bufferBytes: Int32, _ direction: Direction
  ) throws(DHCPServerError) {
    pcap_set_snaplen(handle, Int32(DHCPMessage.maximumLength + 128))
    pcap_set_promisc(handle, 0)
    pcap_set_immediate_mode(handle, 1)
    pcap_set_buffer_size(handle, bufferBytes)
    switch pcap_activate(handle) {
    case 0...:
      break
    case PCAP_ERROR_NO_SUCH_DEVICE:
      throw .noSuchInterface(interface)
    case PCAP_ERROR_IFACE_NOT_UP:
      throw .interfaceDown(interface)
    case PCAP_ERROR_PERM_DENIED:
      throw .noPermission(what: "capture and send frames", interface: interface)
    default:
      throw .failed(what: "start the capture", interface: interface, why: error(handle))
    }
    guard pcap_datalink(handle) == DLT_EN10MB else { throw .notEthernet(interface) }
    var message = [CChar](repeating: 0, count: Int(PCAP_ERRBUF_SIZE))
    guard pcap_setnonblock(handle, 1, &message) == 0 else {
      throw .failed(what: "make the capture non-blocking", interface: interface, why: text(message))
    }
    var program = bpf_program()
    guard pcap_compile(handle, &program, filter, 1, bpf_u_int32.max) == 0 else {
      throw .failed(what: "compile the filter '\(filter)'", interface: interface, why: error(handle))
    }
    defer { pcap_freecode(&program) }
    guard pcap_setfilter(handle, &program) == 0,
      pcap_setdirection(handle, direction == .incoming ? PCAP_D_IN : PCAP_D_INOUT) == 0
    else {
      throw .failed(what: "set the filter '\(filter)'", interface: interface, why: error(handle))
    }
  }

  deinit {
    pcap_close(handle)
  }

  /// Waits for frames for at most `milliseconds`, then hands over those that are there.
  /// - Returns: `false` where the interface is gone.
  func read(waiting milliseconds: Int32, _ body: (Span<UInt8>) -> Void) -> Bool {
    var descriptor = pollfd(fd: pcap_get_selectable_fd(handle), events: Int16(POLLIN), revents: 0)
    guard poll(&descriptor, 1, milliseconds) > 0 else { return true }
    var header: UnsafeMutablePointer<pcap_pkthdr>?
    var bytes: UnsafePointer<UInt8>?
    while true {
      let result = pcap_next_ex(handle, &header, &bytes)
      // A packet; none any more; anything else is an error (the interface went down or away).
      guard result == 1 else { return result == 0 }
      guard let header, let bytes else { return true }
      // The bytes are libpcap's until the next call, and are read only here.
      body(Span(_unsafeStart: bytes, count: Int(header.pointee.caplen)))
    }
  }

  /// Sends one whole frame.
  /// - Returns: Whether the kernel took it.
  func inject(_ frame: [UInt8]) -> Bool {
    pcap_inject(handle, frame, frame.count) == Int32(frame.count)
  }

  /// What the kernel dropped since no one read fast enough.
  var dropped: Int {
    var statistics = pcap_stat()
    return pcap_stats(handle, &statistics) == 0 ? Int(statistics.ps_drop) : 0
  }

  private static func error(_ handle: OpaquePointer) -> String {
    pcap_geterr(handle).map { String(cString: $0) } ?? "no reason given"
  }

  private static func text(_ message: [CChar]) -> String {
    String(decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

/// Sends frames from whichever thread has a reply ready.
///
/// It has a handle of its own, whose filter lets nothing in, so that it shares nothing with the
/// thread that reads.
final class FrameSender: Sendable {
  private struct Handle: ~Copyable {
    var capture: CaptureHandle
  }

  private let handle: Mutex<Handle>

  init(interface: String) throws(DHCPServerError) {
    let capture = try CaptureHandle(interface: interface, filter: "less 1", bufferBytes: 64 * 1024)
    handle = Mutex(Handle(capture: capture))
  }

  func send(_ frame: [UInt8]) -> Bool {
    handle.withLock { $0.capture.inject(frame) }
  }
}
