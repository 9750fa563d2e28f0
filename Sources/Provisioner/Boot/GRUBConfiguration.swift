package import NetworkTypes

/// What the scripts of loaders that load over TFTP need to know.
package struct LoaderSource: Hashable, Sendable {
  /// Our address as the machine reaches it, and the nodes' HTTP port.
  package var server: IPv4Address
  package var port: Int
  package var mac: MACAddress

  package init(server: IPv4Address, port: Int, mac: MACAddress) {
    self.server = server
    self.port = port
    self.mac = mac
  }

  /// The name under which this machine asks again.
  var again: String { "again-01-\(mac.formatted(separator: "-"))" }
  var pause: Int { BootInstruction.pause(10, for: mac) }
}

/// The configuration that GRUB runs.
///
/// Everything comes over TFTP: GRUB 2.06 speaks HTTP to port 80 only.
package enum GRUBConfiguration {
  /// - Parameter isAgain: Asked for by the loop that the first answer holds; it goes on after this one.
  package static func text(_ instruction: BootInstruction, _ source: LoaderSource, isAgain: Bool) -> String {
    switch instruction {
    case .start(let start): boot(start, source) + (isAgain ? "" : loop(source))
    case .wait(let reason): "echo \(quoted("Perseid: \(reason)"))\n" + (isAgain ? "" : loop(source))
    case .leave(let reason):
      """
      echo \(quoted("Perseid: \(reason)"))
      echo 'Perseid: going on to the next boot device'
      sleep 3
      exit

      """
    }
  }

  private static func boot(_ start: BootInstruction.Start, _ source: LoaderSource) -> String {
    let files = "(tftp,\(source.server))/b/\(start.boot.id)"
    let line = words(start.commandLine(server: source.server, port: source.port)).map(quoted).joined(separator: " ")
    // `lockdown` is what GRUB itself sets where Secure Boot is on.
    return """
      # Boot \(start.boot.id) of \(start.title).
      echo \(quoted("Perseid: this is \(start.title)"))
      echo 'Perseid: fetching the kernel (\(ByteCount.words(start.kernelBytes)))'
      set part=kernel
      if linux \(files)/kernel \(line); then
        echo 'Perseid: fetching the initramfs (\(ByteCount.words(start.initramfsBytes)))'
        set part=initramfs
        if initrd \(files)/initramfs; then
          echo 'Perseid: starting the kernel'
          set part=start
          boot
        fi
      fi
      set how=failed
      if [ "$lockdown" = y ]; then
        set how=refused
      fi
      source \(files)/$how-$part

      """
  }

  /// A loop in the first answer and not a script that asks for itself: that would nest deeper each time.
  private static func loop(_ source: LoaderSource) -> String {
    """
    while true; do
      echo 'Perseid: next try in \(source.pause) seconds'
      sleep \(source.pause)
      source (tftp,\(source.server))/grub/\(source.again)
    done

    """
  }

  /// One word to GRUB, whatever is in it.
  private static func quoted(_ text: String) -> String {
    "'" + text.map { $0.isNewline ? " " : $0 == "'" ? "'\\''" : String($0) }.joined() + "'"
  }

  /// The words of a kernel command line. One with spaces is quoted there: GRUB puts its own quotes around such a word.
  private static func words(_ line: String) -> [String] {
    var words: [String] = []
    var word = ""
    var isQuoted = false
    for character in line {
      if character == "\"" {
        isQuoted.toggle()
      } else if character == " ", !isQuoted {
        if !word.isEmpty { words.append(word) }
        word = ""
      } else {
        word.append(character)
      }
    }
    return word.isEmpty ? words : words + [word]
  }
}
