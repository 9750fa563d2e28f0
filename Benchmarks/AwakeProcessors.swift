import Glibc

/// Keeps the processors from sleeping while they have nothing to do, for as long as this lives (PM QoS: what holds
/// /dev/cpu_dma_latency open says how many microseconds they may take to wake up).
///
/// Client and server of a measurement that waits for one packet at a time sleep in turn. In a virtual machine a processor
/// that sleeps is woken by its host, which takes several times as long as all that any server does for a packet: without
/// this one would measure the host.
struct AwakeProcessors: ~Copyable {
  private let descriptor: Int32

  /// `nil` where the system does not allow it.
  init?() {
    let file = open("/dev/cpu_dma_latency", O_WRONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    var microseconds: Int32 = 0
    guard write(file, &microseconds, 4) == 4 else {
      close(file)
      return nil
    }
    descriptor = file
  }

  deinit {
    close(descriptor)
  }
}
