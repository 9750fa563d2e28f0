import CPcap
import Glibc
import Synchronization

/// Packets of one interface as they pass, in both directions, for a person to look at.
package final class PacketCapture: Sendable {
  package struct Packet: Sendable {
    /// Microseconds since 1970-01-01 UTC.
    package var at: UInt64
    /// The frame, or its beginning.
    package var bytes: [UInt8]
    /// On the wire, in bytes.
    package var length: Int
  }

  private struct Handle: ~Copyable {
    let pointer: OpaquePointer
    deinit { pcap_close(pointer) }
  }

  package let interface: String
  private let handle: Mutex<Handle>

  /// Bytes of a frame that are kept at most.
  package static let longest: Int32 = 2048

  /// - Parameter filter: In libpcap's language.
  package init(interface: String, filter: String) throws(DHCPServerError) {
    self.interface = interface
    handle = Mutex(Handle(pointer: try Self.open(interface)))
    try set(filter: filter)
  }

  private static func open(_ interface: String) throws(DHCPServerError) -> OpaquePointer {
    var message = [CChar](repeating: 0, count: Int(PCAP_ERRBUF_SIZE))
    guard let handle = pcap_create(interface, &message) else {
      throw .failed(what: "open a capture", interface: interface, why: text(message))
    }
    pcap_set_snaplen(handle, longest)
    pcap_set_promisc(handle, 0)
    // Packets are handed over in lots, a tenth of a second late at most: the appliance has more urgent work.
    pcap_set_timeout(handle, 100)
    pcap_set_buffer_size(handle, 8 << 20)
    let status = pcap_activate(handle)
    let isReady =
      status >= 0 && pcap_datalink(handle) == DLT_EN10MB && pcap_setdirection(handle, PCAP_D_INOUT) == 0
      && pcap_setnonblock(handle, 1, &message) == 0
    if isReady { return handle }
    let why = pcap_geterr(handle).map { String(cString: $0) } ?? ""
    let type = status >= 0 ? pcap_datalink(handle) : DLT_EN10MB
    pcap_close(handle)
    switch status {
    case PCAP_ERROR_NO_SUCH_DEVICE: throw .noSuchInterface(interface)
    case PCAP_ERROR_IFACE_NOT_UP: throw .interfaceDown(interface)
    case PCAP_ERROR_PERM_DENIED: throw .noPermission(what: "capture frames", interface: interface)
    default:
      if type != DLT_EN10MB { throw .notEthernet(interface) }
      throw .failed(what: "start the capture", interface: interface, why: why.isEmpty ? text(message) : why)
    }
  }

  private static func text(_ message: [CChar]) -> String {
    String(decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Lets other packets through from now on.
  package func set(filter: String) throws(DHCPServerError) {
    let failure: String? = handle.withLock { handle in
      var program = bpf_program()
      guard pcap_compile(handle.pointer, &program, filter, 1, bpf_u_int32.max) == 0 else {
        return pcap_geterr(handle.pointer).map { String(cString: $0) } ?? "no reason given"
      }
      defer { pcap_freecode(&program) }
      guard pcap_setfilter(handle.pointer, &program) == 0 else {
        return pcap_geterr(handle.pointer).map { String(cString: $0) } ?? "no reason given"
      }
      return nil
    }
    if let failure {
      throw .failed(what: "set the filter '\(filter)'", interface: interface, why: failure)
    }
  }

  /// Waits for packets for at most `milliseconds`, then hands over those that are there.
  /// - Returns: `false` where the interface is gone.
  package func read(waiting milliseconds: Int32, _ body: (Packet) -> Void) -> Bool {
    handle.withLock { handle in
      var descriptor = pollfd(fd: pcap_get_selectable_fd(handle.pointer), events: Int16(POLLIN), revents: 0)
      guard poll(&descriptor, 1, milliseconds) > 0 else { return true }
      var header: UnsafeMutablePointer<pcap_pkthdr>?
      var bytes: UnsafePointer<UInt8>?
      // As many as a busy link has at hand, and no more than that before others get their turn.
      for _ in 0..<4096 {
        let result = pcap_next_ex(handle.pointer, &header, &bytes)
        guard result == 1, let header, let bytes else { return result == 0 }
        let time = header.pointee.ts
        body(
          Packet(
            at: UInt64(time.tv_sec) * 1_000_000 + UInt64(time.tv_usec),
            bytes: Array(UnsafeBufferPointer(start: bytes, count: Int(header.pointee.caplen))),
            length: Int(header.pointee.len)))
      }
      return true
    }
  }

  /// What the kernel dropped since it was not read fast enough.
  package var dropped: Int {
    handle.withLock { handle in
      var statistics = pcap_stat()
      return pcap_stats(handle.pointer, &statistics) == 0 ? Int(statistics.ps_drop) : 0
    }
  }
}
