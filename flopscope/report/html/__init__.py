"""A report as one page that needs nothing else: no network, no server, no other file."""

from flopscope.report.html.writing import notebook_html as notebook_html
from flopscope.report.html.writing import page_html as page_html
from flopscope.report.html.writing import save as save
