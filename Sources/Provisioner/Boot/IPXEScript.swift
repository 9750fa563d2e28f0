package import NetworkTypes

/// The scripts iPXE runs: readable, because a person may see them, and talking, because a person watches.
package enum IPXEScript {
  /// Where the script is fetched from again when something fails.
  package struct Source: Hashable, Sendable {
    package var server: IPv4Address
    package var port: Int
    package var mac: MACAddress
    /// How many times this boot has asked before.
    package var attempt: Int

    package init(server: IPv4Address, port: Int, mac: MACAddress, attempt: Int) {
      self.server = server
      self.port = port
      self.mac = mac
      self.attempt = attempt
    }

    var base: String { "http://\(server):\(port)" }
    var again: String { "\(base)/ipxe?mac=\(mac)&attempt=\(min(attempt, 1000) + 1)" }
    /// Seconds until the next try: 2, 4, 8, 16, 30, and up to half as much again, so that machines that
    /// failed together do not come back together.
    var backOff: Int {
      BootInstruction.pause(min(30, 2 << min(attempt, 4)), for: mac)
    }
  }

  /// In iPXE's language.
  package static func text(_ instruction: BootInstruction, _ source: Source) -> String {
    switch instruction {
    case .start(let start): boot(source, start)
    case .wait(let reason): wait(source, reason: reason)
    case .leave(let reason): leave(reason: reason)
    }
  }

  /// Fetches kernel and initramfs of a boot, and starts them.
  private static func boot(_ source: Source, _ start: BootInstruction.Start) -> String {
    let boot = start.boot
    // Under UEFI this iPXE leaves it to the kernel to find the initramfs, by the name it has there.
    let line = start.commandLine(server: source.server, port: source.port, loader: ["initrd=initramfs"])
    return """
      #!ipxe
      # Boot \(boot.id) of \(start.title).
      imgfree
      echo Perseid: this is \(start.title)
      echo Perseid: fetching the kernel (\(ByteCount.words(start.kernelBytes)))
      kernel \(source.base)/b/\(boot.id)/kernel \(line) || goto failed
      echo Perseid: fetching the initramfs (\(ByteCount.words(start.initramfsBytes)))
      initrd --name initramfs \(source.base)/b/\(boot.id)/initramfs || goto failed
      echo Perseid: starting the kernel
      boot || goto failed
      :failed
      \(again(source, "that did not work"))

      """
  }

  /// Says why there is nothing to boot, and asks again.
  package static func wait(_ source: Source, reason: String) -> String {
    """
    #!ipxe
    imgfree
    echo Perseid: \(text(reason))
    \(again(source, "waiting", seconds: 10))

    """
  }

  /// Says why there is nothing to boot, and goes on to the machine's next boot device.
  package static func leave(reason: String) -> String {
    """
    #!ipxe
    echo Perseid: \(text(reason))
    echo Perseid: going on to the next boot device
    sleep 3
    exit 1

    """
  }

  private static func again(_ source: Source, _ words: String, seconds: Int? = nil) -> String {
    let seconds = seconds ?? source.backOff
    return """
      echo Perseid: \(words), next try in \(seconds) seconds
      sleep \(seconds)
      :again
      chain --replace \(source.again) || sleep 5
      goto again
      """
  }

  /// Text that is only text to iPXE: no variables, no `||`, no control characters.
  private static func text(_ reason: String) -> String {
    String(
      reason.map { character in
        character == "$" || character == "|" || character == "&" || character == ";" || character.isNewline
          ? " " : character
      })
  }
}

/// Sizes and times as a person reads them.
package enum ByteCount {
  package static func words(_ bytes: Int64) -> String {
    if bytes < 1000 { return "\(bytes) bytes" }
    var value = Double(bytes)
    for unit in ["kB", "MB", "GB"] {
      value /= 1000
      if value < 1000 || unit == "GB" { return "\(oneDecimal(value)) \(unit)" }
    }
    return "\(bytes) bytes"
  }

  package static func seconds(_ seconds: Double) -> String { "\(oneDecimal(seconds)) s" }

  private static func oneDecimal(_ value: Double) -> String {
    let tenths = Int64((max(0, min(value, 1e15)) * 10).rounded())
    return "\(tenths / 10).\(tenths % 10)"
  }
}
