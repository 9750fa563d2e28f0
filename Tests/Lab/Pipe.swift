import Foundation
import Glibc
import Synchronization

/// A pipe whose reading end a thread empties into a sink until its end, or until it is told to stop.
final class DrainedPipe: Sendable {
  /// The end that a child writes into; the owner closes it once the child has it.
  let writeEnd: Int32
  private let stop: (read: Int32, write: Int32)
  private let finished = Waiter<Bool>()

  /// - Parameter sink: Called on the reading thread with each piece, then once with `nil` at the end.
  init(sink: @escaping @Sendable (ArraySlice<UInt8>?) -> Void) throws {
    let data = try makePipe()
    let stop = try makePipe()
    let reading = data.read
    writeEnd = data.write
    self.stop = stop
    _ = fcntl(reading, F_SETFL, O_NONBLOCK)
    let stopEnd = stop.read
    Thread.detachNewThread { [self] in
      Self.drain(reading, until: stopEnd, into: sink)
      close(reading)
      sink(nil)
      finished.resume(with: true)
    }
  }

  deinit {
    close(stop.write)
    close(stop.read)
  }

  /// Waits until everything that was written is in the sink. Whoever still holds the writing end when
  /// `timeout` has passed is not listened to any more.
  func finish(within timeout: Duration) async {
    if await finished.value(within: timeout) == nil {
      var byte: UInt8 = 0
      _ = write(stop.write, &byte, 1)
      _ = await finished.value(within: timeout)
    }
  }

  private static func drain(_ descriptor: Int32, until stop: Int32, into sink: (ArraySlice<UInt8>?) -> Void) {
    var buffer = [UInt8](repeating: 0, count: 65536)
    var polled = [
      pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0), pollfd(fd: stop, events: Int16(POLLIN), revents: 0),
    ]
    while true {
      while true {
        let count = read(descriptor, &buffer, buffer.count)
        if count > 0 {
          sink(buffer[..<count])
        } else if count == 0 {
          return
        } else if errno == EAGAIN {
          break
        } else if errno != EINTR {
          return
        }
      }
      if polled[1].revents != 0 { return }
      _ = poll(&polled, 2, -1)
    }
  }
}
