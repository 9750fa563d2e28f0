import CLinux
import Glibc

/// The datagrams that one system call has received.
final class PacketBatch {
  /// Packets received at once, at most.
  static let capacity = 64
  /// Longer packets are no packets of ours: requests end at 512 bytes, ACKs have 4, ERRORs a short text.
  private static let slotSize = 1024

  private let batch: UnsafeMutablePointer<clinux_tftp_batch>

  init() throws(SystemError) {
    guard let batch = clinux_tftp_batch_create(Int32(Self.capacity), Self.slotSize) else {
      throw SystemError(number: ENOMEM)
    }
    self.batch = batch
  }

  deinit {
    clinux_tftp_batch_free(batch)
  }

  /// - Returns: How many there were; they stay until the next call.
  func receive(_ descriptor: Int32, atMost limit: Int) -> Int {
    max(0, Int(clinux_tftp_batch_receive(batch, descriptor, Int32(limit))))
  }

  /// One packet of a connected socket, which has no addresses.
  func receiveConnected(_ descriptor: Int32) -> Bool {
    clinux_tftp_batch_receive_connected(batch, descriptor) == 1
  }

  func bytes(_ slot: Int) -> UnsafeRawBufferPointer {
    let count = Int(batch.pointee.counts[slot])
    // One that is longer than its slot is longer than any packet to us: empty says the same.
    return UnsafeRawBufferPointer(
      start: batch.pointee.bytes + slot * Self.slotSize, count: count > Self.slotSize ? 0 : count)
  }

  func addresses(_ slot: Int) -> clinux_tftp_addresses { batch.pointee.addresses[slot] }
}
