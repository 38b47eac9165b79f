"""The browser page of `live`: a camera, stream or clip is tracked here, and shown and steered from a browser.

`worker` follows the targets in a thread, `hub` hands its newest picture to every browser, `server` speaks HTTP.
Needs aiohttp (`pip install siamtrack[web]`); only `server` and `hub` import it.
"""
