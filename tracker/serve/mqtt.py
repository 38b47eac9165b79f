"""Results to an MQTT broker, through paho-mqtt (Eclipse, EPL/EDL: the reference client, which reconnects by itself)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tracker.errors import OutputError
from tracker.serve.config import MqttConfig
from tracker.serve.listeners import Line, Listener

if TYPE_CHECKING:
    import paho.mqtt.client as client

PASSWORD = "SIAMTRACK_MQTT_PASSWORD"
LAST_WORDS = 1.0
"""Seconds at the end in which what is on its way may still get out."""


class MqttListener(Listener):
    """Publishes each line on TOPIC/STREAM.

    A broker that is down is tried again by itself, after one second, then two, up to eight; what comes meanwhile is
    missed and counted: results are worth most when they are new. A broker that takes longer than results come costs
        lines, not time.

    Args:
        config: Where the broker is.
        size: Lines that wait at most.

    Raises:
        OutputError: paho-mqtt is not installed.
    """

    def __init__(self, config: MqttConfig, size: int) -> None:
        super().__init__("mqtt", size)
        try:
            import paho.mqtt.client as mqtt
        except ImportError:
            raise OutputError(
                "Results to MQTT need the package paho-mqtt; `pip install paho-mqtt` adds it (the extra `serve` "
                "holds it)."
            ) from None
        self._config, self._connected, self._size = config, False, size
        self._client: client.Client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        if config.username:
            self._client.username_pw_set(config.username, os.environ.get(PASSWORD))
        if config.tls:
            self._client.tls_set()
        self._client.reconnect_delay_set(1, 8)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.max_queued_messages_set(min(size, 1000))
        self.problem = f"mqtt: no connection to {config.host} port {config.port} yet"
        self._client.connect_async(config.host, config.port, keepalive=15)
        self._client.loop_start()

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._connected = not reason.is_failure
        self.problem = "" if self._connected else f"mqtt: {self._config.host} refused the connection: {reason}"

    def _on_disconnect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._connected = False
        self.problem = f"mqtt: the connection to {self._config.host} port {self._config.port} is lost; tried again"

    def write(self, lines: list[Line]) -> None:
        for stream, line in lines:
            sent = (
                self._connected
                and self._client.publish(f"{self._config.topic}/{stream or 'events'}", line, self._config.qos).rc == 0
            )
            if not sent:
                self.missed += 1
                self.written -= 1  # `run` counts all of them as written

    def close(self) -> None:
        import time

        end = time.monotonic() + LAST_WORDS
        while self._connected and self._client.want_write() and time.monotonic() < end:
            time.sleep(0.01)
        self._client.disconnect()
        self._client.loop_stop()
